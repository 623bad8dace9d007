"""Facts of the processor beyond its marketing name: vendor, family, model and vector units."""

import re
from pathlib import Path

from engine.host import cpu_name

CPUINFO = Path("/proc/cpuinfo")
_UNITS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")


def processor_facts(cpuinfo: Path = CPUINFO) -> dict[str, object]:
    """Name, vendor, family, model and vector units; all but the name are empty if the system does not list them."""
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    flags = set(_field("flags", text).split())
    return {
        "name": cpu_name(cpuinfo),
        "vendor": _field("vendor_id", text),
        "family": _field("cpu family", text),
        "model": _field("model", text),
        "units": [unit for unit in _UNITS if unit in flags],
    }


def _field(name: str, text: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", text, re.M)
    return found[1].strip() if found else ""
