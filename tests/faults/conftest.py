"""What fault tests share: commands in children, and a count of what was tried, which `make faults` prints at its end."""

import os
from collections import Counter

import pytest

from faults.command import complaints, prepare_commands, run_command

_PROPERTY = "campaign"


def pytest_collection_modifyitems(items):
    for item in items:
        if "faults" in item.path.parts:
            # Newer Pythons warn of forks beside threads; here they are what is tried.
            item.add_marker(pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork"))


def pytest_terminal_summary(terminalreporter):
    """The campaign in numbers: of the tests that passed, by part."""
    counts, seconds, memory = Counter(), Counter(), Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == _PROPERTY:
                part, cases, longest, largest = value
                counts[part] += cases
                seconds[part] = max(seconds[part], longest)
                memory[part] = max(memory[part], largest)
    if counts:
        terminalreporter.section("fault campaign: cases, most processor time and memory of one")
        for part in sorted(counts):
            terminalreporter.write_line(
                f"{counts[part]:6} {seconds[part]:6.1f} s {memory[part] / 2**20:6.0f} MiB  {part}"
            )
        terminalreporter.write_line(f"{sum(counts.values()):6} in all")


class Campaign:
    """Runs commands and counts them."""

    def __init__(self, part, folder, record):
        self.part = part
        self._record = record
        self.place = folder / "place"
        self.logs = folder / "said"
        self.place.mkdir()
        self.logs.mkdir()
        self.cases = 0
        self.seconds = 0.0
        self.bytes = 0
        self.wrong: list[str] = []

    def run(self, arguments, **how):
        """Run a command in a child; steps count in `place`."""
        outcome = run_command(arguments, self.logs, folder=self.place, **how)
        self.took(outcome)
        return outcome

    def took(self, outcome):
        """Note what a command took."""
        self.seconds = max(self.seconds, outcome.ended.seconds)
        self.bytes = max(self.bytes, outcome.ended.peak_bytes)

    def judge(self, case, outcome, names=(), also=()):
        """Note what is wrong with an outcome, beside other things that were found."""
        found = [*complaints(outcome, names), *also]
        if found:
            shown = [argument[:80] for argument in outcome.arguments]
            self.wrong.append(f"{case}: {'; '.join(found)}\n  {shown}\n  {outcome.err[-600:]}")

    def settle(self):
        """At the end of a test: count its cases, and fail with all that was found wrong."""
        self._record(_PROPERTY, [self.part, self.cases, self.seconds, self.bytes])
        if self.wrong:
            pytest.fail(f"{len(self.wrong)} of {self.cases} cases:\n" + "\n".join(self.wrong), pytrace=False)


@pytest.fixture(scope="session")
def _prepared():
    prepare_commands()


@pytest.fixture
def campaign(request, tmp_path, record_property, _prepared, monkeypatch):
    """The commands of a test, which calls `settle` at its end."""
    if not hasattr(os, "fork"):
        pytest.skip("children are forked")
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("MVFUSION_MODELS", str(models))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Campaign(request.module.PART, tmp_path, record_property)
