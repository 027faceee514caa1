"""Words and names that several skills draw from, and words made up of syllables."""

from __future__ import annotations

from random import Random

WORDS = """
apple apron arrow autumn baby bag bakery ball banana bank basket bath beach bean bear bed bee bell bench
berry bike bird blanket blue board boat body bone book boot bottle bowl box boy branch bread bridge broom
brother brown brush bucket butter button cabin cake camera candle car carpet carrot castle cat cave chair
chalk cheese cherry chicken child church circle city clay clock cloud coat coffee coin color comb computer
cookie copper corn cotton couch cow crayon cream crow crown cup curtain dance dark daughter deer desk
diamond dinner dish doctor dog doll dolphin donkey door dragon dream dress drum duck eagle ear earth egg
elbow elephant engine evening eye face family farm father feather fence field finger fire fish flag flame
floor flower fly forest fork fox friend frog fruit garden garlic gate ghost giant giraffe girl glass glove
goat gold goose grape grass green guitar hair hammer hand hat heart hill honey hook horn horse hospital
hotel house hunter ice ink insect iron island jacket jam jar jelly jewel juice jungle kettle key king
kitchen kite kitten knee knife ladder lake lamp lantern leaf lemon letter library light lion lizard lock
machine magnet mango map market mask meadow milk mirror monkey moon morning mother mountain mouse mouth
music nail neck needle nest night nose notebook nurse oak ocean office oil onion orange orchard oven owl
paint palace paper parade park parrot pearl pencil pepper piano picture pig pillow pilot pine pizza planet
plate pocket pond potato prince pumpkin puppy purple puzzle queen rabbit radio rain rainbow red rice ring
river road robot rocket roof room rope rose sail salt sand school science sea seed shadow sheep shell ship
shirt shoe shoulder silver sister skirt sky snail snake snow soap sock soldier song soup spider spoon spring
square squirrel stairs star station stone storm story street sugar summer sun swan sweater table tail
teacher tent tiger toast tomato tooth tower town toy train tree truck turtle umbrella uncle valley vase
village violin voice wagon wall water wave wheel whistle white wind window winter wizard wolf wood wool word
world yard year yellow zebra zero
""".split()

NAMES = """
Adam Alan Alice Amara Amelia Amir Amy Ana Andrea Anita Anna Arthur Aya Ben Bella Boris Bruno Carla Carlos
Carmen Cathy Chen Chloe Clara Colin Cora Daisy Dan Daniel Daria David Diana Diego Dmitri Dora Edith Eli
Elena Ella Ellis Emil Emily Emma Eric Erik Esther Eva Farid Felix Fiona Frank Frida Gabriel George Gina
Grace Greta Hana Hannah Harry Hassan Heidi Helen Henry Hugo Ida Igor Ines Irene Iris Isaac Ivan Jack Jacob
James Jamal Jane Jasmine Jean Jenny Joan Joel John Jonas Jose Judy Julia Kai Karim Karl Kate Keiko Kenji Kim
Kira Lars Laura Leah Leila Leo Leon Liam Lily Lina Linda Lisa Lucas Lucy Luis Luna Mai Marco Maria Mario
Mark Marta Mary Max Maya Mei Mia Mila Mina Mohamed Mona Nadia Nina Noah Noor Nora Olga Oliver Omar Oscar
Otto Paul Pavel Pedro Peter Petra Priya Rachel Rafael Raj Rita Robert Rosa Ruby Ruth Sam Samir Sara Sasha
Sofia Stefan Susan Tara Tariq Theo Tina Tom Uma Vera Victor Viktor Wei William Yara Yuki Yusuf Zara Zoe
""".split()

CONSONANTS = (
    "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gl gr kl kr pl pr sh sl sp st th tr".split()
)
VOWELS = "a e i o u a e i o ai ea ee ie oa oo ou".split()
ENDINGS = "b d g k l m n p r s t x y ck ll nd ng nt rd rk rn rt ss st sh th".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def made_up_word(random: Random) -> str:
    """A word that nobody has said: one to three syllables."""
    word = ""
    for _ in range(random.choice((1, 2, 2, 3))):
        word += random.choice(CONSONANTS) * (random.random() < 0.9) + random.choice(VOWELS)
    return word + random.choice(ENDINGS) * (random.random() < 0.6)


def letter_salad(random: Random) -> str:
    """Letters in no order, so that every piece of the vocabulary gets spelled."""
    return "".join(random.choice(LETTERS) for _ in range(random.randint(2, 7)))


def any_word(random: Random) -> str:
    """A word to spell: known, joined of two known halves, made up, or no word at all."""
    kind = random.random()
    if kind < 0.4:
        return random.choice(WORDS)
    if kind < 0.5:
        return random.choice(NAMES).lower()
    if kind < 0.7:
        first, second = random.choice(WORDS), random.choice(WORDS)
        word = first[: random.randint(1, 5)] + second[-random.randint(1, 5) :]
        return word if len(word) > 1 else first
    if kind < 0.92:
        return made_up_word(random)
    return letter_salad(random)


def any_name(random: Random) -> str:
    """A name: a common one or a made-up one."""
    if random.random() < 0.5:
        return random.choice(NAMES)
    name = made_up_word(random)
    return (name if len(name) > 2 else name + "na").capitalize()
