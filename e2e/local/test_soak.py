"""A short soak: nothing of a connector grows under load, while its platform fails now and then. `make soak` is the long one."""

from soak.soaking import soak
from soak.watch import Sample, judge


def test_nothing_grows_under_load() -> None:
    report = soak(duration=120, rate=60)
    assert not report.wrong, str(report)


def test_a_leak_is_found() -> None:
    def samples(rss: int = 0, files: int = 0) -> list[Sample]:
        return [Sample(n, 50_000_000 + n * rss, 20 + n * files, 10, 8) for n in range(3600)]

    assert judge(samples())[1] == []
    assert judge(samples(rss=500))[1] == []
    assert [problem.split(" by ")[0] for problem in judge(samples(rss=3_000))[1]] == ["memory grew"]
    assert [problem.split(" from ")[0] for problem in judge(samples(files=1))[1]] == ["files grew"]
    assert "too few" in judge(samples()[:3])[1][0]
