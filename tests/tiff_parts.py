"""TIFF files of grey values, and sets of OME-TIFF files that belong together."""

import tifffile

GREY = {"photometric": "minisblack"}

SHAPE = (6, 14, 16)


def ome_xml(images, *, size=0.5):
    """OME-XML of several images, each a list of (file, first plane of the image, planes)."""
    _, y, x = SHAPE
    parts = []
    for number, files in enumerate(images):
        planes = sum(count for _, _, count in files)
        data = "".join(
            f'<TiffData IFD="0" FirstZ="{first}" PlaneCount="{count}">'
            f'<UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>'
            for file, first, count in files
        )
        parts.append(
            f'<Image ID="Image:{number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" Type="uint16" SizeX="{x}" '
            f'SizeY="{y}" SizeZ="{planes}" SizeC="1" SizeT="1" PhysicalSizeX="{size}" PhysicalSizeY="{size}" '
            f'PhysicalSizeZ="{2 * size + number}">{data}</Pixels></Image>'
        )
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">' + "".join(parts) + "</OME>"
    )


def write_part(path, pixels, xml, **how):
    """A file of a set, as the Bio-Formats exporter and others write it: each with the XML of all."""
    text = xml.replace("urn:uuid:{}", f"urn:uuid:{path.name}")
    tifffile.imwrite(path, pixels, description=text.encode(), metadata=None, **GREY, **how)
