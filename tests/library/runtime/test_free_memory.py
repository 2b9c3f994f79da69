import torch

from landscape.runtime import free_memory

CPU = torch.device("cpu")
GIB = 1 << 30


def _pretend(monkeypatch, folder, **files):
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    monkeypatch.setattr(free_memory, "_MEMINFO", folder / "meminfo")
    monkeypatch.setattr(free_memory, "_CGROUP", folder)


def test_what_the_machine_can_give_counts(monkeypatch, tmp_path):
    _pretend(
        monkeypatch, tmp_path, meminfo=f"MemFree: 5 kB\nMemAvailable:   {8 * GIB // 1024} kB\n"
    )
    assert free_memory.free_memory(CPU) == 8 * GIB


def test_the_limit_of_a_container_counts_without_its_cache(monkeypatch, tmp_path):
    files = {
        "memory_max": f"{4 * GIB}\n",
        "memory_current": f"{3 * GIB}\n",
        "memory_stat": f"inactive_file {GIB}\n",
    }
    _pretend(monkeypatch, tmp_path, meminfo=f"MemAvailable: {8 * GIB // 1024} kB\n", **files)
    assert free_memory.free_memory(CPU) == 2 * GIB


def test_a_container_without_a_limit_has_what_the_machine_has(monkeypatch, tmp_path):
    files = {"memory_max": "max\n", "memory_current": f"{3 * GIB}\n"}
    _pretend(monkeypatch, tmp_path, meminfo=f"MemAvailable: {8 * GIB // 1024} kB\n", **files)
    assert free_memory.free_memory(CPU) == 8 * GIB
