"""Which images a page shows."""

from collections import Counter

from camloc.report.explorer.choose import choose_images, rule_text


def test_classes_get_equally_many_as_far_as_they_have_them() -> None:
    classes = [[0]] * 100 + [[1]] * 100 + [[2]] * 3
    chosen = choose_images(classes, 23)
    assert Counter(classes[place][0] for place in chosen) == {0: 10, 1: 10, 2: 3}
    assert chosen == sorted(set(chosen))
    assert chosen == choose_images(classes, 23)


def test_an_image_of_several_classes_is_chosen_once_and_those_of_none_take_turns() -> None:
    classes = [[0, 1], [], [0, 1], [1], [0], []]
    assert choose_images(classes, 6) == [0, 1, 2, 3, 4, 5]
    for most in (1, 2, 3, 4, 5):
        assert len(set(choose_images(classes, most))) == most
    many = [[0]] * 50 + [[]] * 30 + [[1]] * 20
    assert Counter(tuple(many[place]) for place in choose_images(many, 30)) == {(0,): 10, (): 10, (1,): 10}


def test_the_rule_is_said() -> None:
    assert rule_text(2, 3).startswith("2 of the 3 test images, drawn evenly by class")
