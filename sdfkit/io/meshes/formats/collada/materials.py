"""Materials of a COLLADA document: the diffuse colour or texture of effects."""

from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from sdfkit.images.rendering.appearance import Material, Texture, Wrap
from sdfkit.io.meshes.formats.collada.document import Document
from sdfkit.io.meshes.formats.values import decode_colours

WRAPS: dict[str, Wrap] = {"MIRROR": "mirror", "CLAMP": "clamp", "BORDER": "clamp", "NONE": "clamp"}


@dataclass(frozen=True)
class Binding:
    """A material as an instance of a geometry binds it.

    Attributes:
        material: The material.
        texcoord_set: The set of texture coordinates for its texture. None if the instance does not say.
    """

    material: Material
    texcoord_set: int | None = None


class Materials:
    """The materials of a document. Each picture is read once.

    Colours are taken for sRGB, as other programs take them; COLLADA does not say. Of materials that are damaged, the
    names are noted in the source as missing.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._effects: dict[Element, tuple[Material, str]] = {}
        self._pictures: dict[str, tuple[str, bytes]] = {}

    def bind(self, instance: Element, symbol: str) -> Binding:
        """Return the material to which an instance of a geometry binds a symbol.

        Without a binding, the material whose id is the symbol is taken.
        """
        if not symbol:
            return Binding(Material())
        bound = next(
            (entry for entry in instance.iter("instance_material") if entry.get("symbol") == symbol), None
        )
        material = self._document.first("material", symbol if bound is None else bound.get("target", ""))
        used = material.find("instance_effect") if material is not None else None
        effect = self._document.first("effect", used.get("url", "")) if used is not None else None
        if effect is None:
            self._document.source.missing.append(symbol)
            return Binding(Material())
        if effect not in self._effects:
            self._effects[effect] = self._read_effect(effect)
        shading, texcoord = self._effects[effect]
        for entry in () if bound is None else bound.findall("bind_vertex_input"):
            if entry.get("semantic") == texcoord and entry.get("input_semantic") == "TEXCOORD":
                return Binding(shading, self._document.integer(entry, "input_set", 0))
        return Binding(shading)

    def _read_effect(self, effect: Element) -> tuple[Material, str]:
        """Return the material of an effect, and the name that it gives to the texture coordinates."""
        profile = effect.find("profile_COMMON")
        diffuse = None if profile is None else profile.find("technique/*/diffuse")
        if profile is None or diffuse is None:
            return Material(), ""
        parameters = {
            entry.get("sid"): entry for entry in (*effect.findall("newparam"), *profile.iter("newparam"))
        }
        texture = diffuse.find("texture")
        if texture is not None:
            picture = self._read_texture(texture.get("texture", ""), parameters)
            return Material(texture=picture), texture.get("texcoord", "")
        named = diffuse.find("param")
        held = diffuse if named is None else parameters.get(named.get("ref"), diffuse)
        colour = next(
            (entry for tag in ("color", "float4", "float3") if (entry := held.find(tag)) is not None), None
        )
        numbers = self._document.numbers(colour)
        if len(numbers) < 3:
            return Material(), ""
        red, green, blue = decode_colours(numbers[None, :3], 1)[0].tolist()
        return Material((red, green, blue)), ""

    def _read_texture(self, name: str, parameters: dict[str | None, Element]) -> Texture:
        """Return the texture that a sampler names. Some programs name the image instead."""
        wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
        sampler = parameters[name].find("sampler2D") if name in parameters else None
        if sampler is not None:
            wrap = (
                WRAPS.get(sampler.findtext("wrap_s", ""), "repeat"),
                WRAPS.get(sampler.findtext("wrap_t", ""), "repeat"),
            )
            image = sampler.find("instance_image")  # 1.5
            surface = parameters.get(sampler.findtext("source", "").strip())
            if image is not None:
                name = image.get("url", "")
            elif surface is not None:
                name = surface.findtext("surface/init_from", "").strip()
        if name not in self._pictures:
            self._pictures[name] = self._read_picture(name)
        title, content = self._pictures[name]
        return Texture(title, content, wrap)

    def _read_picture(self, name: str) -> tuple[str, bytes]:
        """Return the file name and the content of an image; no bytes if it is missing, which the source notes."""
        image = self._document.first("image", name)
        start = None if image is None else image.find("init_from")
        held = None if image is None else image.find("data")  # bytes as hexadecimal digits
        if start is not None and (held is None):
            held = start.find("hex")
        if held is not None:
            try:
                return name, bytes.fromhex(held.text or "")
            except ValueError:
                start = None
        if start is None:
            self._document.source.missing.append(name)
            return name, b""
        path = (start.findtext("ref") or start.text or "").strip()  # 1.5, 1.4
        path = unquote(path.removeprefix("file://"))
        return path, self._document.source.find(path) or b""
