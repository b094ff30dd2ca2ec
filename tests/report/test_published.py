from camloc.report.published import METRICS, published_numbers


def test_every_number_has_a_metric_a_source_and_a_sensible_value() -> None:
    for number in published_numbers():
        assert number.metric in METRICS
        assert number.threshold_source in ("oracle", "not stated", "")
        assert 15 < number.value < 100
        assert number.data
        assert number.method
        assert number.source


def test_no_number_is_there_twice() -> None:
    keys = [(n.data, n.network, n.method, n.metric, n.source) for n in published_numbers()]
    assert len(set(keys)) == len(keys)


def test_accuracies_are_what_errors_leave() -> None:
    found = {(n.data, n.network, n.method, n.metric): n.fraction for n in published_numbers()}
    assert round(found["imagenet", "vgg_gap", "CAM", "gt_known"], 9) == 0.41
    assert found["openimages", "resnet50_gap", "CAM", "pxap"] == 0.585
