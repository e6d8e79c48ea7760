"""A short soak: nothing of a connector grows under load, while its platform fails now and then. `make soak` is the long one."""

from soak.soaking import soak
from soak.watch import Sample, judge


def test_nothing_grows_under_load() -> None:
    # As many calls as in two minutes at a third of the rate: a call that leaves a kilobyte or a file behind is found.
    report = soak(duration=45, rate=160)
    assert not report.wrong, str(report)


def test_a_leak_is_found() -> None:
    def samples(rss: int = 0, files: int = 0) -> list[Sample]:
        return [Sample(n, 50_000_000 + n * rss, 20 + n * files, 10, 8) for n in range(3600)]

    def in_short(calls: int, rss: int = 0, files: int = 0) -> list[Sample]:
        """What the soak above would see of something that grows once in so many calls."""
        times = [n * 45 / 225 for n in range(225)]
        grown = [int(time * 160 / calls) for time in times]
        return [Sample(at, 90_000_000 + n * rss, 35 + n * files, 10, 8) for at, n in zip(times, grown, strict=True)]

    assert judge(samples())[1] == []
    assert judge(samples(rss=500))[1] == []
    assert [problem.split(" by ")[0] for problem in judge(samples(rss=3_000))[1]] == ["memory grew"]
    assert [problem.split(" from ")[0] for problem in judge(samples(files=1))[1]] == ["files grew"]
    assert judge(in_short(1))[1] == []
    assert [problem.split(" by ")[0] for problem in judge(in_short(1, rss=1024))[1]] == ["memory grew"]
    assert [problem.split(" from ")[0] for problem in judge(in_short(200, files=1))[1]] == ["files grew"]
    assert "too few" in judge(samples()[:3])[1][0]
