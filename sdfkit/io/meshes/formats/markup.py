"""XML, as COLLADA and 3MF files use it, parsed without what makes XML from strangers dangerous."""

from collections.abc import Callable
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from sdfkit.errors import InputError

# Largest number of triangles per byte of XML, with all instances, in files with more than a few.
MOST_FACES_PER_BYTE = 10
FEW_FACES = 10_000_000


def check_repeats(faces: int, size: int, name: str) -> None:
    """Check that a file does not repeat its meshes to more faces than the memory should hold.

    Args:
        faces: Number of triangles that were read, with all instances.
        size: Number of bytes of XML.
        name: Name of the file in messages.

    Raises:
        InputError: There are too many faces for so few bytes.
    """
    if faces > max(FEW_FACES, MOST_FACES_PER_BYTE * size):
        raise InputError(
            f"{name}: repeats its meshes to {faces} faces or more, too many for {size} bytes of XML; it is not read"
        )


def parse_xml(content: bytes, name: str, connect: Callable[[expat.XMLParserType], None]) -> None:
    """Parse XML, and call a function for each event.

    Entities can make a short XML document grow without bound, or read other files. They are declared in a document type
    (DOCTYPE), which neither COLLADA nor 3MF needs, so XML with a document type is refused.

    Args:
        content: The XML.
        name: Name of the file in messages.
        connect: Called with the parser, to set its handlers. Names of elements and attributes that have a namespace
            come as "namespace name".

    Raises:
        InputError: The XML is damaged or truncated, or has a document type.
    """

    def refuse(*_: object) -> None:
        raise InputError(f"{name}: declares a document type (DOCTYPE), which may hide entities; remove it")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    connect(parser)
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise InputError(f"{name}: is not well-formed XML ({error}); is it truncated or damaged?") from error


def read_tree(content: bytes, name: str) -> Element:
    """Parse XML into a tree whose elements and attributes have names without namespaces.

    Raises:
        InputError: The XML is damaged or truncated, or has a document type.
    """
    builder = TreeBuilder()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(local_name(tag), {local_name(key): value for key, value in attributes.items()})

    def connect(parser: expat.XMLParserType) -> None:
        parser.StartElementHandler = start
        parser.EndElementHandler = lambda tag: builder.end(local_name(tag))
        parser.CharacterDataHandler = builder.data

    try:
        parse_xml(content, name, connect)
    except (LookupError, ValueError) as error:  # an encoding that expat does not know
        raise InputError(f"{name}: cannot be read as XML ({error}); save it as UTF-8") from error
    return builder.close()


def local_name(name: str) -> str:
    """Return the name of an element or attribute without its namespace."""
    return name.rpartition(" ")[2]
