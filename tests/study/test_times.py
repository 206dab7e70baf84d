"""The summary of a study's time."""

from study.times import Spent, where_the_time_went


def test_shares_and_order():
    clock = {
        (True, "mae", False): [Spent(100.0)],
        (False, "depth", False): [Spent(30.0), Spent(50.0, 1.0)],
        (False, "depth", True): [Spent(20.0)],
    }
    assert where_the_time_went(clock).splitlines() == [
        "where the time went: 3:20 of the clock, in 4 runs, one by one",
        " 50.0%     1:40    1 x  100.0 s each  pretrain mae",
        " 40.0%     1:20    2 x   40.0 s each  depth",
        " 10.0%     0:20    1 x   20.0 s each  trial of depth",
    ]
    processor = {(True, "mae", False): [Spent(100.0, 15.0)], (False, "depth", False): [Spent(1.0, 30.0)]}
    assert where_the_time_went(processor).splitlines() == [
        "where the time went: 0:45 of processors, all threads, in 2 runs, one by one",
        " 66.7%     0:30    1 x   30.0 s each  depth",
        " 33.3%     0:15    1 x   15.0 s each  pretrain mae",
    ]
    assert where_the_time_went({}) == ""
