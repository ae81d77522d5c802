"""Two runs that start at once on a new machine simulate once."""

import dataclasses
import threading
import time

from xmm_jax import dataset
from xmm_jax.data.folder import one_at_a_time
from xmm_jax.presets import parse


def test_one_simulates_and_others_wait(tmp_path, monkeypatch):
    monkeypatch.setenv("XMM_JAX_CACHE", str(tmp_path / "cache"))
    config = parse(["--task=dn", "--simulated.fields=4"])
    config = dataclasses.replace(config, run="unused")
    wrote, found = [], []

    def write(folder, *about, **more):
        assert not folder.exists()
        wrote.append(folder)
        time.sleep(1.0)
        folder.mkdir()
        (folder / dataset.MANIFEST).write_text("{}")

    monkeypatch.setattr(dataset, "write_simulated", write)
    threads = [
        threading.Thread(target=lambda: found.append(dataset.find_data(config))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [str(wrote[0])] * 3
    assert len(wrote) == 1


def test_a_lock_goes_with_its_holder(tmp_path):
    for _ in range(2):
        with one_at_a_time(tmp_path / "new" / "records"):
            assert not (tmp_path / "new" / "records").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".records.lock"]
