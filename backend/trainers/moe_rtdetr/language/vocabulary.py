"""Words of prompts: for the six traffic classes, for groups of them, and around them."""

from collections.abc import Mapping, Sequence

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "car": ("automobile", "automobiles", "sedan", "sedans", "passenger car", "汽车", "轿车",
            "小汽车", "小车"),
    "truck": ("lorry", "lorries", "cargo truck", "freight truck", "卡车", "货车", "大货车"),
    "bus": ("coach", "coaches", "city bus", "public bus", "公交车", "巴士", "公共汽车", "大巴",
            "客车"),
    "person": ("people", "pedestrian", "pedestrians", "human", "humans", "walker", "walkers",
               "行人", "人", "人员", "路人"),
    "bicycle": ("bike", "bikes", "cyclist", "cyclists", "push bike", "自行车", "单车", "脚踏车"),
    "motorcycle": ("motorbike", "motorbikes", "motor cycle", "scooter", "scooters",
                   "motorcyclist", "motorcyclists", "摩托车", "摩托", "机车"),
}  # fmt: skip

GROUP_CLASSES: Mapping[str, tuple[str, ...]] = {
    "vehicles": ("car", "truck", "bus"),
    "two wheelers": ("bicycle", "motorcycle"),
}
GROUP_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "vehicles": ("vehicle", "motor vehicles", "four wheelers", "车辆", "机动车辆", "四轮车"),
    "two wheelers": ("two wheeler", "two-wheelers", "二轮车", "两轮车"),
}
EVERYTHING = ("everything", "anything", "all objects", "every object", "all classes", "所有目标",
              "一切", "全部", "所有物体", "任何目标")  # fmt: skip

TEMPLATES = (
    "{}", "find {}", "find the {}", "detect {}", "detect the {}", "show {}", "show me the {}",
    "show me all {}", "where are the {}", "where is the {}", "locate {}", "look for {}",
    "look for the {} please", "please find {}", "i want to see {}", "give me {}", "count the {}",
    "is there a {}", "are there any {}", "search for {} in the image", "highlight the {}",
    "only {}", "just the {}", "mark each {} on the road", "can you see a {}", "boxes around {}",
    "get all of the {}", "any {} here",
)  # fmt: skip
CHINESE_TEMPLATES = (
    "{}", "找{}", "找出{}", "检测{}", "请检测{}", "找到所有的{}", "显示{}", "标出{}",
    "请标出图中的{}", "哪里有{}", "有没有{}", "只看{}", "画面里的{}", "定位{}", "我想看{}",
)  # fmt: skip
HELD_OUT = (
    "could you point out the {}", "track {} for me", "i need {} from this picture",
    "spot every {}", "what about the {}", "draw a frame round {}", "list {} in view",
)  # fmt: skip
HELD_OUT_CHINESE = ("帮我识别{}", "图片上的{}在哪", "查看道路上的{}", "圈出{}")

UNKNOWN = ("giraffe", "umbrella", "laptop", "banana", "sandwich", "mountain", "guitar", "kettle",
           "penguin", "carpet", "bucket", "personal", "busy", "长颈鹿", "雨伞", "电脑", "香蕉",
           "山")  # fmt: skip
"""Words that ask for none of the classes, some of them close to one by their letters."""

FILLER = (
    "the", "a", "in", "on", "at", "of", "to", "now", "please", "there", "image", "picture", "road",
    "street", "left", "right", "scene", "camera", "view", "frame", "quickly", "thanks", "you",
    "me", "for", "with", "this", "that", "and", "all", "every", "some", "hello", "ok",
)  # fmt: skip


def phrases(name: str, others: Sequence[str]) -> tuple[str, ...]:
    """How a class can be asked for: its name, the plural, known synonyms that are not the name
    of one of the ``others``."""
    plain = name.replace("_", " ")
    own = [plain, plural(plain), *SYNONYMS.get(name, ())]
    taken = {other.replace("_", " ") for other in others if other != name}
    return tuple(dict.fromkeys(phrase for phrase in own if phrase not in taken))


def plural(noun: str) -> str:
    """By the rules of English; a word in other letters stays as it is."""
    if not (noun[-1:].isascii() and noun[-1:].isalpha()):
        return noun
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
