"""Which files are images: by their first bytes, whatever they are called, else by their extension.

This is the only place that decides it. A kind without a decoder is listed too, so that its files are skipped by name.
"""

import re
from typing import NamedTuple

START = 40  # bytes that `kind_of` needs
HEIF_PACKAGE = "pip install 'lmpnet-cli[heic]'"
_RAW = "export it as JPEG or TIFF; what it contains besides is only a thumbnail"
_CONVERT = "convert it to JPEG, PNG or TIFF"


class Kind(NamedTuple):
    """A kind of image file.

    Attributes:
        name: as users know it.
        decoder: Pillow's name of the decoder; empty where lmpnet has none.
        advice: what the user can do where the file cannot be read.
    """

    name: str
    decoder: str = ""
    advice: str = _CONVERT


JPEG = Kind("JPEG", "JPEG")
PNG = Kind("PNG", "PNG")
WEBP = Kind("WebP", "WEBP")
BMP = Kind("BMP", "BMP")
GIF = Kind("GIF", "GIF")
TIFF = Kind("TIFF", "TIFF")
JPEG_2000 = Kind("JPEG 2000", "JPEG2000")
PNM = Kind("PPM", "PPM")
AVIF = Kind("AVIF", "AVIF", "install a Pillow that reads it: pip install -U pillow")
HEIC = Kind("HEIC", "HEIF", f"install the package that reads it: {HEIF_PACKAGE}")
RAW = Kind("camera raw", advice=_RAW)
PHOTOSHOP, ICON, VECTOR = Kind("Photoshop"), Kind("icon"), Kind("vector graphics")
OPENEXR, RADIANCE, JPEG_XL, JPEG_XR = Kind("OpenEXR"), Kind("Radiance HDR"), Kind("JPEG XL"), Kind("JPEG XR")
DICOM, FITS, DDS, QOI = Kind("DICOM"), Kind("FITS"), Kind("DDS"), Kind("QOI")
TARGA, GIMP = Kind("TGA"), Kind("GIMP")

_SIGNATURES: tuple[tuple[str, Kind], ...] = (  # regular expressions of the first bytes, in Latin-1
    (r"\xff\xd8\xff", JPEG),
    (r"\x89PNG\r\n\x1a\n", PNG),
    (r"RIFF....WEBP", WEBP),
    (r"GIF8[79]a", GIF),
    # the size of the second header tells a BMP file from a text that begins with BM
    (r"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", BMP),
    (r"(II\*\x00|MM\x00\*).{4}CR", RAW),  # Canon
    (r"IIRO|IIRS|MMOR|IIU\x00|FUJIFILMCCD-RAW|FOVb", RAW),  # Olympus, Panasonic, Fujifilm, Sigma
    (r"II[*+]\x00|MM\x00[*+]", TIFF),
    (r"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", JPEG_2000),
    (r"P[1-6][ \t\r\n]+[0-9#]", PNM),
    (r".{4}ftyp(avif|avis|.{8,24}(avif|avis))", AVIF),
    (r".{4}ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)", HEIC),
    (r".{4}ftypcrx ", RAW),  # Canon
    (r"8BPS", PHOTOSHOP),
    (r"gimp xcf", GIMP),
    (r"\x00\x00\x01\x00.\x00....\x01\x00|icns", ICON),
    (r"v/1\x01", OPENEXR),
    (r"#\?(RADIANCE|RGBE)", RADIANCE),
    (r"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n", JPEG_XL),
    (r"II\xbc\x01", JPEG_XR),
    (r"SIMPLE  =", FITS),
    (r"DDS ", DDS),
    (r"qoif", QOI),
)
_PATTERNS = [(re.compile(pattern.encode("latin-1"), re.DOTALL), kind) for pattern, kind in _SIGNATURES]

_EXTENSIONS: dict[Kind, str] = {
    JPEG: "jpg jpeg jpe jfif jif",
    PNG: "png apng",
    WEBP: "webp",
    BMP: "bmp dib",
    GIF: "gif",
    TIFF: "tif tiff",
    JPEG_2000: "jp2 j2k j2c jpc jpf jpx",
    PNM: "ppm pgm pbm pnm",
    AVIF: "avif avifs",
    HEIC: "heic heics heif heifs hif",
    RAW: "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mrw nef nrw orf pef raf raw rw2 rwl sr2 srf srw x3f",
    PHOTOSHOP: "psd psb",
    ICON: "ico icns cur",
    VECTOR: "svg svgz eps",
    OPENEXR: "exr",
    JPEG_XL: "jxl",
    JPEG_XR: "jxr wdp hdp",
    DICOM: "dcm dicom",
    FITS: "fits",
    DDS: "dds",
    QOI: "qoi",
    TARGA: "tga",
    GIMP: "xcf",
}
_BY_EXTENSION = {f".{suffix}": kind for kind, suffixes in _EXTENSIONS.items() for suffix in suffixes.split()}
EXTENSIONS = tuple(_BY_EXTENSION)


def kind_of(start: bytes) -> Kind | None:
    """Return the kind of image that a file with these first bytes is; None for another file."""
    return next((kind for pattern, kind in _PATTERNS if pattern.match(start)), None)


def kind_called(name: str) -> Kind | None:
    """Return the kind of image that a file with this name should be; None where the name does not say."""
    return _BY_EXTENSION.get(f".{name.rpartition('.')[2].lower()}") if "." in name else None
