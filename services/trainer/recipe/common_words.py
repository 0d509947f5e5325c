"""Words that no trigger word should be: every base model knows them, so their meaning would mix with the subject's.

What people photograph and how they call it; a word beyond this list is not called common, even where it is.
"""

from __future__ import annotations

_WORDS = frozenset({
    "a", "an", "and", "animal", "anime", "apple", "art", "artist", "autumn", "baby", "background", "backpack", "bad",
    "bag", "banana", "beach", "bear", "beautiful", "bed", "bee", "beer", "bicycle", "big", "bike", "bird", "black",
    "blue", "boat", "book", "boot", "bottle", "bowl", "box", "boy", "bread", "bridge", "brown", "building", "burger",
    "bus", "butterfly", "cake", "camera", "car", "cartoon", "castle", "cat", "chair", "chicken", "child", "church",
    "city", "clock", "cloud", "coat", "coffee", "comic", "computer", "corgi", "cow", "cup", "cute", "dark", "day",
    "dog", "doll", "door", "dragon", "drawing", "dress", "duck", "elephant", "engine", "eye", "face", "family",
    "father", "figure", "fire", "fish", "flower", "food", "forest", "fork", "fox", "friend", "frog", "fruit",
    "garden", "girl", "glass", "glasses", "goat", "gold", "good", "grass", "gray", "green", "grey", "hair", "hamster",
    "hand", "hat", "home", "horse", "house", "husky", "icon", "image", "in", "is", "it", "keyboard", "kid", "kitchen",
    "kitten", "knife", "lake", "lamp", "laptop", "leaf", "light", "lion", "logo", "man", "me", "model", "monkey",
    "moon", "mother", "motorcycle", "mountain", "mouse", "mug", "my", "necklace", "new", "nice", "night", "object",
    "of", "old", "on", "one", "or", "orange", "painting", "pan", "pattern", "pen", "people", "person", "phone",
    "photo", "picture", "pig", "pink", "pizza", "plane", "plant", "plate", "poodle", "portrait", "poster", "pot",
    "puppy", "purple", "rabbit", "rain", "rat", "red", "ring", "river", "robot", "room", "rose", "screen", "sea",
    "selfie", "sheep", "ship", "shirt", "shoe", "shoes", "silver", "sketch", "sky", "small", "snake", "sneaker",
    "snow", "sofa", "spoon", "spring", "star", "street", "style", "summer", "sun", "sunglasses", "table", "tea",
    "teapot", "texture", "that", "the", "thing", "this", "tiger", "tower", "toy", "train", "tree", "truck", "turtle",
    "two", "unicorn", "vase", "wall", "watch", "water", "wheel", "white", "window", "wine", "winter", "with", "wolf",
    "woman", "yellow", "your",
})  # fmt: skip


def is_common(word: str) -> bool:
    """Whether the word, or each of several words, is in the list; in any case of letters."""
    parts = word.casefold().split()
    return bool(parts) and all(part in _WORDS for part in parts)
