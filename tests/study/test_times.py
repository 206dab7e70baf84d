"""The summary of a study's time."""

from study.times import where_the_time_went


def test_shares_and_order():
    seconds = {(True, "mae", False): [100.0], (False, "depth", False): [30.0, 50.0], (False, "depth", True): [20.0]}
    assert where_the_time_went(seconds).splitlines() == [
        "where the time went: 3:20 in 4 runs, one by one",
        " 50.0%     1:40    1 x pretrain mae",
        " 40.0%     1:20    2 x depth",
        " 10.0%     0:20    1 x trial of depth",
    ]
    assert where_the_time_went({}) == ""
