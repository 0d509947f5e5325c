"""The words that must be one token each: what captions say, what users' captions are likely to say, trigger words."""

from __future__ import annotations

from gateway.demo_pictures.backgrounds import COLOURS
from research.fiveshot_tiny.scenes.captions import SUBJECT_NOUNS, TRIGGER_WORDS
from research.fiveshot_tiny.scenes.characters import CHARACTERS
from research.fiveshot_tiny.scenes.photographic import photographic_words
from research.fiveshot_tiny.scenes.sprites import OBJECTS, SHAPES

_SCENE_TEXT = (
    "a an the of on in at with and or photo picture nothing background gradient striped dots meadow night beach snow "
    "small large left right center , ."
)
SCENE_WORDS: tuple[str, ...] = tuple(_SCENE_TEXT.split())

_COMMON_TEXT = """
    about above after all also animals another any are around as away baby back bag ball bear bed been before behind
    below beside best between bicycle big bird boat body book both bottle bottom box boy bread bright bus but by
    camera can candle castle chair cheese chicken child children city clean clear clock close cloud clouds coffee cold
    color colored colorful colour cookie corner cow crab cup curly cute dark day deep different dinosaur doll donkey
    door down dragon drawing dress drinking duck each ears earth eating elephant empty every eyes face family fast
    feet field fire fish fluffy flower flowers flying food foot for forest four friend from front fruit full funny
    furry garden girl glass glasses gold golden good grass grey ground hair half hand hands happy hat have he head
    hedgehog her here high hill his holding home horn horns horse hot how ice inside is it its jumping jungle just key
    kid king kitchen kitten lake lamp leaf leaves leg legs light line lion little locomotive long looking lots low
    made man many metal middle milk mirror model money monkey moon morning mountain mouse mouth my near new next no
    nose ocean octopus of off old one open orange other our out outdoors over paint painting paper park part party
    person pet phone photograph pillow pineapple pirate plain plane plant plants plastic plate playing pony pot pretty
    princess puppy queen rabbit rain rainbow river road rock rocks roof room rope round running sad sand sea seen
    shadow she sheep shell shelf ship shirt shoe shoes short side silver sitting six sky sleeping slow smiling smoke
    snake soft some spiral spots spotted spring square stacking standing statue stone stool street string style summer
    sun sunny sunset swimming table tail tall teapot teddy tall that their them there they thin thing things this three
    tiger tiny to top tower town toys tractor tram trees truck turtle two umbrella under up vase very view walking wall
    warm was watch water wave we wearing wheel wheels white who wide wild wind window wing wings winter woman wood
    wooden wool world yarn you young your zebra
"""
COMMON_WORDS: tuple[str, ...] = tuple(_COMMON_TEXT.split())


def single_token_words() -> list[str]:
    """Every word that the tokenizer keeps whole, without repetition, in a fixed order."""
    scene = [word for name in (*OBJECTS, *SHAPES, *CHARACTERS, *COLOURS) for word in name.split()]
    return list(dict.fromkeys([*SCENE_WORDS, *scene, *TRIGGER_WORDS, *SUBJECT_NOUNS, *COMMON_WORDS]))


def filler_words() -> list[str]:
    """Words for `disturb_caption`: trigger words and subject nouns (four times as likely) and common words."""
    drawn = {*SCENE_WORDS, *OBJECTS, *SHAPES, *CHARACTERS, *COLOURS, *photographic_words()}
    return [
        *TRIGGER_WORDS * 4,
        *SUBJECT_NOUNS * 4,
        *(word for word in dict.fromkeys(COMMON_WORDS) if word not in drawn),
    ]
