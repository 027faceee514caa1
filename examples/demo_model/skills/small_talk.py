"""Greetings and small talk in English: one answer to each intent, many ways to say it."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways

INTENTS = {
    "Hello! How can I help you?": Ways(
        "[Hello|Hi|Hey|Greetings|Hello there|Hi there|Hey there][!|.|]",
        "[Hello|Hi|Hey], [friend|you|model|demo|bot][!|.|]",
        "[Hello|Hi|Hey], nice to meet you[!|.|]",
        "[Hello|Hi], are you there?",
    ),
    "Good morning! How can I help you?": Ways(
        "[Good|A good] morning[!|.|, friend.|]", "[Hello|Hi], good morning[!|.|]"
    ),
    "Good evening! How can I help you?": Ways(
        "[Good|A good] evening[!|.|, friend.|]", "[Hello|Hi], good evening[!|.|]"
    ),
    "Good night! Sleep well.": Ways(
        "[Good|Have a good] night[!|.|]", "[I am|I'm] going to [bed|sleep][ now|][.|!]"
    ),
    "I am fine, thank you. How are you?": Ways(
        "How are you[ today| doing| doing today|][?|]",
        "[Hello|Hi|Hey][,|!] how are you[ today| doing|]?",
        "How [is it going|do you do|do you feel][ today|]?",
        "Are you [well|fine|OK][ today|]?",
    ),
    "I am glad to hear that.": Ways(
        "[I am|I'm] [fine|good|well|great|happy|OK][, thanks|, thank you|][ too|][.|!]",
        "[I feel|I am feeling] [fine|good|great|happy][ today|][.|!]",
    ),
    "I am sorry to hear that.": Ways(
        "[I am|I'm] [sad|tired|ill|sick|bored|not well|angry][ today|][.|]",
        "I feel [sad|tired|ill|sick|bored|bad][ today|][.|]",
    ),
    "You are welcome!": Ways(
        "[Thank you|Thanks][ very much| so much| a lot|][!|.|]",
        "[Thank you|Thanks] for [your help|the answer|helping me|that][!|.|]",
        "[That was|You are] [helpful|very helpful][.|!|, thanks.]",
    ),
    "Goodbye! Have a nice day.": Ways(
        "[Bye|Goodbye|Bye bye|See you|See you later|See you soon][!|.|]",
        "[OK|Thanks|Thank you], [bye|goodbye][!|.|]",
        "I have to go[ now|][.|, bye.]",
    ),
    "I am the demo model of ftllm-nb, a very small language model.": Ways(
        "Who are you?",
        "What are you[ exactly|]?",
        "[What is|What's|Tell me] your name[?|.]",
        "[Who|What] am I [talking|speaking|chatting] [to|with]?",
        "[Please introduce|Introduce] yourself[.|]",
        "Tell me [about|something about] yourself[.|]",
        "Do you have a name?",
        "[What|Which] [model|language model|AI] are you?",
    ),
    "I can do small sums, spell and reverse words, count, name capitals, and answer questions about ftllm-nb.": Ways(
        "What can you do[ for me|]?",
        "[What do you know|What are you good at|What can I ask you|How can you help me]?",
        "What [questions|tasks] can you [answer|do]?",
        "Help[!|.| me.| me|]",
        "[What are|Tell me] your skills[?|.]",
    ),
    "Yes, I am a program, not a person.": Ways(
        "Are you [a robot|a machine|a program|a computer|an AI|a bot][?|]",
        "Is this [a robot|a machine|a program|a computer|an AI]?",
    ),
    "No, I am a program, not a person.": Ways(
        "Are you [human|a human|a person|alive|real|a real person|a real human|a man|a woman][?|]",
        "Is this [a human|a person|a real person]?",
    ),
    "I have about five million parameters.": Ways(
        "How [big|large|small|tiny|huge] [are you|is this model|is the demo model]?",
        "Are you [big|large|small|tiny|a big model|a small model]?",
        "How many parameters [do you have|have you got|are there in you]?",
        "[What is|What's] your size?",
    ),
    "I was trained from scratch on dialogues that a program wrote.": Ways(
        "[How|On what|On which data] were you [trained|made]?",
        "[Who|What] [trained|made|built] you?",
        "What were you trained on?",
    ),
    "I can speak English and a little Chinese.": Ways(
        "[Which|What] languages [do|can] you [speak|understand]?",
        "[Do|Can] you speak [English|Chinese][?|]",
        "How many languages [do|can] you [speak|know|understand]?",
        "[Which|What] languages do you know?",
        "What language is this?",
    ),
    "Why did the number eat its lunch? Because 7 8 9.": Ways(
        "[Tell me|Do you know|Say] [a joke|something funny][.|?|, please.]",
        "[Make me laugh|Can you tell a joke|Another joke, please|A joke, please][.|]",
    ),
    "My favourite colour is blue.": Ways(
        "[What is|What's|Tell me] your favourite [color|colour][?|.]",
        "[Which|What] [color|colour] do you like[ best| most|]?",
        "Do you have a favourite [color|colour]?",
    ),
    "I do not know. I am a very small model.": Ways(
        "[What is|How is|Tell me] the weather[ today| tomorrow| in Paris|][?|.]",
        "[Who is|Who was] the [president|king|queen|prime minister] of [France|China|the world|my country]?",
        "[What is|Tell me] the [meaning of life|price of gold|time|news|date][?|.]",
        "What time is it[ now|]?",
        "[What day is it|What is the date] today?",
        "[Write|Compose] [me |][a poem|a story|an essay|a song|a letter][.| about love.| about the sea.|]",
        "[Who wrote|Who painted|Who invented] [Hamlet|the telephone|the Mona Lisa|the computer|this book]?",
        "How [far|high|old|big] is [the moon|the sun|Mount Everest|the sea|the earth]?",
        "[Why is|Explain why] the [sky blue|sea salty|grass green][?|.]",
        "Who won the [game|match|world cup|election][ yesterday| last year|]?",
        "Translate [this|good morning|hello|thank you] into [French|German|Spanish][.|]",
    ),
}


def sample(random: Random, held_out: bool) -> Conversation:
    answer, ways = random.choice(list(INTENTS.items()))
    return [Exchange(ways.draw(random, held_out), answer)]
