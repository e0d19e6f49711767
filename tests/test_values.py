"""The light NamedTuple is what typing's is."""

from sampan.values import NamedTuple


class Point(NamedTuple):
    """A place."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        return self.x + self.y

    @classmethod
    def origin(cls) -> "Point":
        return cls(0, 0)

    def moved(self, by: int) -> "Point":
        return self._replace(x=self.x + by)


def test_fields_defaults_and_methods() -> None:
    point = Point(1)
    assert point == (1, 2)
    assert (point.x, point.y, point.sum) == (1, 2, 3)
    assert point.moved(4) == Point(x=5, y=2)
    assert Point.origin() == (0, 0)
    assert point._asdict() == {"x": 1, "y": 2}
    assert repr(point) == "Point(x=1, y=2)"


def test_it_is_a_plain_tuple_class() -> None:
    assert isinstance(Point(1), tuple)
    assert Point.__doc__ == "A place."
    assert Point.__module__ == __name__
    assert not hasattr(Point(1), "__dict__")
    assert isinstance(Point(1), Point | int)
