"""`sdfkit doctor` on machines that lack different things."""

import json

import pytest

from sdfkit.runtime import doctor, probe

HUB = {"hub": "https://huggingface.co", "offline": False, "proxy": False}
GOOD = {
    "torch": {
        "torch": "2.13.0+cu130", "transformers": "5.23.0", "cuda": "13.0", "device": "cuda:0", "gpu": "NVIDIA H100",
        "gpu_bytes": 85e9, "precision": "bf16", "cpu": "AVX512", "encoders": ["facebook/dinov2-base"],
    },
    "kernels": {"numba": "0.68.1", "zarr": "3.1.6", "trimesh": "5.2.0", "cache": "/x"},
    "egl": {"driver": "NVIDIA H100"},
    "osmesa": {"driver": "llvmpipe"},
    "hub": HUB,
}  # fmt: skip
LONG = "ImportError: " + "nothing works and this is why it does not \x1b[31m" * 4


@pytest.fixture
def tries(monkeypatch):
    """Replace the results of the tests that run in separate processes."""

    def make(**changed):
        monkeypatch.setattr(doctor, "try_all", lambda: GOOD | changed)

    return make


def test_doctor_passes_on_a_fully_equipped_machine(sdfkit, tries):
    tries()
    result = sdfkit("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("\n\nThis machine can go from meshes to a predicted mesh.\n")
    assert "GPU       ok     NVIDIA H100, 85.0 GB\n" in result.stdout
    assert "encoders  ok     facebook/dinov2-base" in result.stdout


@pytest.mark.parametrize("changed", [{}, {name: {"fault": LONG} for name in GOOD}])
def test_the_report_fits_one_screen_and_does_not_cut_remedies(sdfkit, tries, monkeypatch, changed):
    tries(**changed)
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    monkeypatch.setattr(doctor, "_family", lambda: "debian")
    lines = sdfkit("doctor").stdout.splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    if changed:
        assert any(line.endswith("…: apt-get install libegl1 libgl1 libgl1-mesa-dri") for line in lines)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"torch": {"fault": "OSError: no libgomp"}}, "torch: OSError: no libgomp: install torch again"),
        ({"kernels": {"fault": "its process died: Illegal instruction"}},
         "kernels: its process died: Illegal instruction: install sdfkit again"),
        ({"torch": GOOD["torch"] | {"encoders": []}, "hub": HUB | {"offline": True}},
         "encoders: none installed, and the hub cannot be reached: pip install 'sdfkit[offline]'"),
    ],
)  # fmt: skip
def test_missing_requirements_are_summarised_in_one_line(sdfkit, tries, monkeypatch, changed, reason):
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    tries(**changed)
    result = sdfkit("doctor")
    assert (result.exit_code, result.stderr) == (
        5,
        f"sdfkit: this machine cannot run all steps from meshes to a predicted mesh: {reason}\n",
    )
    assert "This machine can" not in result.stdout
    facts = json.loads(sdfkit("doctor", "--json").stdout)
    assert facts["can_run"] is False


def test_doctor_passes_without_gpu_driver_and_hub(sdfkit, tries):
    missing = {"missing": ["libEGL"]}
    tries(egl=missing, osmesa=missing, hub={"fault": "no answer in 15 s"},
          torch=GOOD["torch"] | {"device": "cpu", "gpu": None, "precision": "fp32"})  # fmt: skip
    assert sdfkit("doctor").exit_code == 0


def test_json_contains_the_facts_of_the_printed_report(sdfkit, tries):
    tries()
    screen = sdfkit("doctor").stdout
    facts = json.loads(sdfkit("doctor", "--json").stdout)
    assert facts["can_run"] is True
    assert [line.split()[0] for line in screen.splitlines()[:-2]] == list(facts["facts"])
    assert facts["facts"]["GPU"]["gpu_bytes"] == 85e9
    assert facts["facts"]["bf16"]["precision"] == "bf16"
    assert facts["facts"]["EGL"]["driver"] == "NVIDIA H100"


@pytest.mark.slow
def test_doctor_finds_working_torch_and_kernels_on_the_test_machine(sdfkit, monkeypatch):
    monkeypatch.setattr(probe, "TIMEOUTS", dict.fromkeys(probe.TIMEOUTS, 240.0))
    facts = json.loads(sdfkit("--quiet", "doctor", "--json").stdout)["facts"]
    assert facts["torch"]["ok"] and facts["kernels"]["ok"]
    assert facts["cores"]["usable"] >= 1
    assert facts["here"]["free"] > 0
