"""Lines about estimated cameras."""

from sdfkit.report.camera_summary import AMBIGUOUS, FEW, CameraSummary, describe_cameras, warn_ambiguous

GOOD, POOR = CameraSummary(32.4, 20, 15.2, 0.861), CameraSummary(-170, 5, AMBIGUOUS + 1, 0.5)


def test_few_cameras_are_described_one_by_one():
    assert describe_cameras({"cup": [GOOD], "cat": [GOOD, POOR]}) == [
        "camera of cup: azimuth 32°, elevation 20°, ±15°; silhouettes agree at 0.86",
        "camera of cat, view 0: azimuth 32°, elevation 20°, ±15°; silhouettes agree at 0.86",
        "camera of cat, view 1: azimuth -170°, elevation 5°, ±31°; silhouettes agree at 0.50",
    ]


def test_many_cameras_are_described_together():
    cameras = {f"cup{index}": [GOOD] for index in range(FEW)} | {"cat": [POOR]}
    (line,) = describe_cameras(cameras)
    assert line == (
        "cameras of 9 images: expected error 15° (median), 31° at most (cat); silhouettes agree at 0.82 on average"
    )


def test_no_cameras_need_no_line():
    assert describe_cameras({}) == []


def test_ambiguous_cameras_are_named():
    assert warn_ambiguous({"cup": [GOOD]}) == ""
    assert warn_ambiguous({"cup": [GOOD], "cat": [GOOD, POOR]}).startswith("cat: other directions explain")
    many = {name: [POOR] for name in "abcde"}
    assert warn_ambiguous(many).startswith("a, b, c and 2 more: other directions explain")
