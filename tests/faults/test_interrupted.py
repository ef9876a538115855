"""Whatever ends a run, or fails in it, or damages what it left: nothing is lost, and a rerun gives the identical volume."""

import errno
import random
import shutil

import pytest

from faults.fusing import Fusing, of_all
from faults.killing import KILLED
from faults.malformed import mutated_bytes, mutated_text
from napari_mvfusion.engine.finishing import partial_folder

PART = ""
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.ENOMEM)
KILLS = 25
FAILURES = 13
DAMAGES = 14


def both(count):
    """Half of the cases without, half with an older result in the place."""
    return [(replaces, part) for replaces, part in ((False, count - count // 2), (True, count // 2)) if part]


@pytest.mark.parametrize(("method", "ending", "count"), of_all(KILLS, {("average", "zarr"): 2, ("ebmd", "tif"): 2}))
def test_a_run_that_is_killed_anywhere_can_be_finished(campaign, method, ending, count):
    campaign.part = f"killed at a step: {method}, {ending}"
    for replaces, part in both(count):
        fusing = Fusing(campaign, method, ending, replaces=replaces)
        moments = random.Random(f"moments {method} {ending}")
        for number, at in enumerate(fusing.steps_to_try(part, f"kill {method} {ending}")):
            fusing.restore()
            # Between two steps too, as while an estimate on disk is written, and so at some time.
            how = {"at": at} if number % 2 else {"after": moments.random() * fusing.seconds}
            killed = campaign.run(fusing.arguments, **how)
            case = f"killed: {how} of {fusing.steps}{', replacing' if replaces else ''}"
            also = fusing.lost() + ([] if killed.code in (KILLED, 0) else [f"exit code {killed.code}"])
            campaign.judge(case, killed, also=also)
            again = campaign.run([*fusing.arguments, "--resume"])
            campaign.judge(f"{case}, resumed", again, also=fusing.unfinished())
            campaign.cases += 1
    campaign.settle()


@pytest.mark.parametrize(("method", "ending", "count"), of_all(FAILURES, {("cbif", "tif"): 2}))
def test_a_step_that_fails_anywhere_loses_nothing(campaign, method, ending, count):
    campaign.part = f"failed at a step: {method}, {ending}"
    for replaces, part in both(count):
        fusing = Fusing(campaign, method, ending, replaces=replaces)
        for number, at in enumerate(fusing.steps_to_try(part, f"fail {method} {ending}")):
            fusing.restore()
            failure = ERRORS[number % len(ERRORS)]
            failed = campaign.run(fusing.arguments, at=at, fail_with=failure)
            case = f"{errno.errorcode[failure]} at {at} of {fusing.steps}{', replacing' if replaces else ''}"
            also = fusing.lost()
            if replaces and not fusing.out.exists():
                also.append("the old volume was not put back")
            campaign.judge(case, failed, ("fused", "memory"), also)
            if failed.code != 0 or fusing.unfinished():
                again = campaign.run([*fusing.arguments, "--resume"])
                campaign.judge(f"{case}, resumed", again, also=fusing.unfinished())
            campaign.cases += 1
    campaign.settle()


@pytest.mark.parametrize(("method", "ending", "count"), of_all(DAMAGES, {("ebmd", "zarr"): 2}))
def test_an_unfinished_run_whose_files_are_damaged_never_gives_another_volume(campaign, method, ending, count):
    campaign.part = f"unfinished run, damaged: {method}, {ending}"
    fusing = Fusing(campaign, method, ending, replaces=False)
    left = fusing.place.with_name("left")
    rng = random.Random(f"damage {method} {ending}")
    done = 0
    while done < count:
        fusing.restore()
        campaign.run(fusing.arguments, at=rng.randrange(fusing.steps // 3, fusing.steps))
        kept = partial_folder(fusing.out)
        files = sorted(path for path in kept.rglob("*") if path.is_file() and path.stat().st_size)
        if not files:
            continue
        shutil.rmtree(left, ignore_errors=True)
        file = rng.choice(files)
        texts = [path for path in files if path.suffix in (".json", ".jsonl")]
        if rng.random() < 0.5 and texts:
            file = rng.choice(texts)
        good = file.read_bytes()
        try:
            damaged = mutated_text(good.decode(), rng)
        except UnicodeDecodeError:
            damaged = mutated_bytes(good, rng)
        file.write_bytes(damaged)
        again = campaign.run([*fusing.arguments, "--resume"])
        case = f"{file.relative_to(fusing.place)}, {len(good)} to {len(damaged)} bytes, number {done}"
        also = fusing.unfinished() if again.code == 0 else fusing.lost()
        if again.code != 0 and not (fusing.out.exists() or partial_folder(fusing.out).exists()):
            also.append("the unfinished run is lost")
        campaign.judge(case, again, ("fused",), also)
        campaign.cases += 1
        done += 1
    campaign.settle()
