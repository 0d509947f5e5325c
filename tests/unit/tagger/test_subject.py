from __future__ import annotations

import pytest

from services.chassis.errors import FailedPrecondition, Internal, NotFound
from services.tagger.models.pictures import KIND, OBJECT, Category, Picture, Score, Scores, TaggerInfo
from services.tagger.use_cases.subject import MOST_PICTURES, SubjectVerb, spread, suggest, with_article
from services.tagger.use_cases.taggers import CombinedTagger, Taggers
from tests.fakes.tagger_world import DATASET, FakeDecoder, ScriptedTagger
from tests.unit.tagger.conftest import World

FAMILIES = {"dog": ("animal",), "cat": ("animal",), "car": ("vehicle",), "tricycle": ("vehicle",), "sneaker": ("shoe",)}


def seen(**nouns: float) -> Scores:
    """A picture's raw scores; `dog__corgi` is the kind of a noun."""
    scores = []
    for label, value in nouns.items():
        noun, _, kind = label.partition("__")
        above = FAMILIES.get(noun, ())
        scores.append(
            Score(kind, KIND, value, False, "photo", "", (noun, *above))
            if kind
            else Score(noun, OBJECT, value, False, "photo", "", above)
        )
    return Scores(tuple(scores))


class NamingTagger(ScriptedTagger):
    """Names the same objects in every picture."""

    def __init__(self, scores: Scores) -> None:
        super().__init__(id="photo")
        self.scores = scores
        self._categories = (Category(OBJECT, 0.5), Category(KIND, 0.4))

    def describe(self) -> TaggerInfo:
        info = super().describe()
        return TaggerInfo(**{**vars(info), "categories": self._categories})

    def infer(self, batch: list[Picture]) -> list[Scores]:  # type: ignore[override]
        self.batches.append(len(batch))
        return [self.scores for _ in batch]


def test_what_all_pictures_show_is_asked_for_with_its_kind() -> None:
    found = suggest([seen(dog=0.9, dog__corgi=0.7), seen(dog=0.8, dog__corgi=0.5), seen(dog=0.6, cat=0.2)])
    assert (found.subject, found.kind, found.agreeing, found.pictures) == ("dog", "corgi", 3, 3)
    assert found.score == pytest.approx(0.7667, abs=1e-3)
    assert found.question == "These look like photos of a dog (corgi). Is that the subject?"
    assert [candidate.noun for candidate in found.candidates] == ["dog", "cat"]


def test_a_kind_that_is_not_sure_is_left_out() -> None:
    assert suggest([seen(dog=0.9, dog__corgi=0.3)]).kind == ""


def test_the_kind_of_another_noun_is_not_taken() -> None:
    assert suggest([seen(cat=0.6, dog__corgi=0.4)]).kind == ""


def test_silence_where_nothing_is_sure_or_two_nouns_are_near() -> None:
    for pictures in ([seen(candle=0.2)], [seen(candle=0.4, boat=0.35)], [Scores(outside_domain=True)] * 3):
        found = suggest(pictures)
        assert found.subject == ""
        assert found.question == "It is not clear what these pictures have in common. What do they show?"


def test_a_wider_noun_where_its_nouns_share_the_votes() -> None:
    found = suggest([seen(car=0.25, tricycle=0.3), seen(car=0.3, tricycle=0.2)])
    assert (found.subject, found.agreeing) == ("vehicle", 2)


def test_a_dog_must_be_surer_than_a_teapot() -> None:
    assert suggest([seen(dog=0.55)] * 5).subject == ""
    assert suggest([seen(dog=0.65)] * 5).subject == "dog"
    assert suggest([seen(teapot=0.3)] * 5).subject == "teapot"


def test_animal_alone_is_no_subject() -> None:
    assert suggest([seen(dog=0.3, cat=0.28)]).subject == ""


def test_most_of_the_pictures_must_agree() -> None:
    assert suggest([seen(dog=0.95), seen(), seen()]).subject == ""


def test_nothing_was_seen() -> None:
    assert suggest([]).question == "None of the pictures could be read. What do they show?"


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("dog", "a dog"), ("apple", "an apple"), ("sunglasses", "sunglasses"), ("bus", "a bus"), ("glass", "a glass")],
)
def test_articles(noun: str, expected: str) -> None:
    assert with_article(noun) == expected


def test_many_pictures_are_looked_at_evenly() -> None:
    names = [str(number) for number in range(100)]
    assert spread(names[:5], 12) == names[:5]
    chosen = [int(name) for name in spread(names, 4)]
    assert chosen == [0, 25, 50, 75]


def verb(world: World, *taggers: ScriptedTagger) -> SubjectVerb:
    everything = CombinedTagger("default", "Default", "All", list(taggers))
    return SubjectVerb(world.datasets, Taggers([everything, *taggers]), FakeDecoder(), world.executor)


async def test_the_tagger_that_names_objects_looks_at_some_of_the_pictures(world: World) -> None:
    world.datasets.add(*(f"i{number}" for number in range(30)))
    other, naming = ScriptedTagger(), NamingTagger(seen(dog=0.9))
    found = await verb(world, other, naming)(DATASET, "")
    assert (found.subject, found.pictures) == ("dog", MOST_PICTURES)
    assert sum(naming.batches) == MOST_PICTURES
    assert other.batches == []
    assert world.datasets.writes == 0


class MeasuringTagger(NamingTagger):
    """One that keeps how large what it saw was."""

    def infer(self, batch: list[Picture]) -> list[Scores]:  # type: ignore[override]
        self.sizes = [*getattr(self, "sizes", []), *((picture.width, picture.height) for picture in batch)]
        return super().infer(batch)


async def test_what_is_trained_is_looked_at(world: World) -> None:
    _, cropped, barred = world.datasets.add("a", "b", "c")
    world.datasets.images[cropped].crop = (0.5, 0.0, 1.0, 1.0)
    world.datasets.images[cropped].content_area = (0.0, 0.0, 1.0, 0.5)
    world.datasets.images[barred].content_area = (0.0, 0.5, 1.0, 1.0)
    naming = MeasuringTagger(seen(dog=0.9))
    await verb(world, naming)(DATASET, "")
    assert naming.sizes == [(2, 2), (1, 2), (2, 1)]


async def test_a_picture_that_cannot_be_read_is_passed_over(world: World) -> None:
    world.datasets.add("good")
    world.datasets.add("bad", data=b"noise")
    found = await verb(world, NamingTagger(seen(dog=0.9)))(DATASET, "")
    assert (found.subject, found.pictures) == ("dog", 1)


async def test_what_cannot_be_suggested_says_why(world: World) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await verb(world, ScriptedTagger())(DATASET, "")
    assert caught.value.reason == "NO_OBJECT_TAGGER"
    naming = verb(world, NamingTagger(seen()))
    with pytest.raises(FailedPrecondition) as caught:
        await naming(DATASET, "")
    assert caught.value.reason == "DATASET_EMPTY"
    with pytest.raises(NotFound):
        await naming("projects/acme/datasets/none", "")
    world.datasets.add("a")
    failing = verb(world, NamingTagger(Scores(error=Internal("It broke"))))
    with pytest.raises(Internal, match="It broke"):
        await failing(DATASET, "")
