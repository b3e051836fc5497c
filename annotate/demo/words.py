"""The demo's sentences: slot lists of our own, and how they become a post's text or a picture's caption.

Kinds of text, by what the words say when taken at their word:
cheer, doom      a side, plainly
dip, top         a side, against the picture, knowing it: "down 30%, so I bought more"
told             admits the joke of the caption: told_bearish, told_bullish
quiet            takes no side and asks nothing
ask, teach, news questions, lessons, reports; ask_up and ask_down in words that sound like a side
flat             nothing happened
"""

import re
from random import Random

TICKERS = (
    "$FROG",
    "$MOONX",
    "$TOAST",
    "$PIXEL",
    "$NOODL",
    "$KARMA",
    "$GLOOP",
    "$ZEBRA",
    "$LLAMA",
    "$BREAD",
    "$OTTER",
    "$VIBE",
)

SLOTS: dict[str, tuple[str, ...]] = {
    "amount": ("400", "2,000", "a few hundred", "15k", "half a million", "twelve", "ninety"),
    "price": ("0.04", "1.20", "three cents", "0.0009", "17.50", "the open", "breakfast prices"),
    "pct": ("12%", "18%", "31%", "40%", "55%", "63%", "77%", "8%", "26%"),
    "day": ("Friday", "Monday", "the weekend", "payday", "Thursday night", "the end of June", "my birthday"),
    "month": ("March", "October", "2021", "January", "the spring", "2017"),
    "since": ("March", "the last cycle", "the beta", "2021", "before the logo", "last winter"),
    "hour": ("3 am", "noon", "breakfast", "half past four", "midnight", "11 pm"),
    "who": (
        "my sister",
        "my barber",
        "the neighbour",
        "my boss",
        "grandpa",
        "the dentist",
        "my flatmate",
        "a taxi driver",
    ),
    "snack": ("sandwiches", "two bananas", "a thermos", "noodles", "the good biscuits", "a toothbrush"),
    "doing": ("in the shower", "asleep", "on a call", "walking the dog", "making soup", "at the gym", "in a meeting"),
    "thing": ("a van", "a better chair", "the boat", "a bigger kitchen", "guitar lessons", "a house with stairs"),
    "left": ("eleven dollars", "a bus ticket", "half a burrito", "the fees", "a screenshot", "one sock"),
    "pattern": (
        "a flag",
        "a wedge",
        "a double bottom",
        "a head and shoulders",
        "a pennant",
        "a cup and handle",
        "a triangle",
    ),
    "span": ("the daily", "the weekly", "the 4h", "the 15 minute", "the monthly"),
    "body": (
        "the regulator",
        "a parliamentary committee",
        "the exchange",
        "the foundation",
        "the central bank",
        "an industry group",
    ),
    "act": (
        "opens a consultation on reserves",
        "publishes its yearly report",
        "postpones the vote to autumn",
        "names a new chair",
        "moves its office to Lisbon",
        "announces maintenance for Sunday",
        "updates its fee table",
        "asks for comments on custody rules",
        "releases version 4.2 of the client",
    ),
}

TEXTS: dict[str, tuple[str, ...]] = {
    "cheer": (
        "{t} to the moon, no brakes this time",
        "Packed {snack}. {t} is going to the moon",
        "diamond hands on {t} since {since}, not one coin leaves this wallet",
        "Just bought {amount} more {t}, the way is up",
        "{t} bullish as ever, the chart has never looked better",
        "we are so early on {t}, still bullish",
        "Next stop for {t}: all-time high by {day} 🚀",
        "{who} asked why I hold {t}. Because it only goes up",
        "{t} breakout confirmed, strap in, bulls only",
        "everything is green and so is my mood, thanks {t}",
        "gains so loud {who} complained",
        "Pump it. {t}. Now.",
        "told you all to buy {t} at {price} and you laughed",
        "still holding, still winning, {t} forever 💎🙌",
        "{t} up only. I checked twice",
        "my {t} bag is up {pct} and I am not even sweating",
        "{t} pays for {thing} by {day}, pump pump pump",
        "engines lit, {t} crew on board 🚀🚀",
        "{t} bulls are back and they brought {snack}",
        "If you are not long {t} by {day} I cannot help you",
        "lfg {t} wagmi",
        "another day another all-time high for {t}",
        "buy signal on {span}, loading {t}",
        "moon soon. {t}.",
        "can't stop, won't stop, {t} up {pct} before {hour}",
        "{t} hodl gang eating well tonight",
        "nothing stops this {t} rally, not even me buying it",
        "It is simple. Buy {t}, wait until {day}, order {thing}",
        "tallest green candle of the year on {span}, {t} sends it",
        "generational gains. {t}. screenshot this",
        "bears in shambles, {t} going up from {price}",
    ),
    "doom": (
        "{t} is done, sold everything at {price}",
        "another rug pull, the {t} devs deleted the group at {hour}",
        "{t} crash is not over, get out while you can",
        "down {pct} and the bottom is not in",
        "Sell {t}. Sell it all. Sell the chair too",
        "it's so over for {t}",
        "bearish on {t} until further notice",
        "my {t} is bleeding and so is my heart",
        "{t} dumped {pct} while I was {doing}",
        "the whales dumped {t} on us again",
        "liquidated. again. thanks {t}",
        "exit liquidity, that is my job title at {t} now",
        "{t} is going to zero and taking my rent along",
        "rekt by {t} before {hour}",
        "{t} is a scam and I have {left} left",
        "sell signal on {span}, {t} looks dead",
        "Red since {hour}, red until {day}. {t} is finished",
        "ngmi with {t}",
        "there goes {thing}, {t} down {pct} 📉",
        "Panic? Yes. {t} lost {pct} since {hour}",
        "dead cat, no bounce. {t}",
        "bears were right about {t}, sadly",
        "{t} holders in pain, me among them 😭",
        "every candle is red, every {t} chat is silent",
        "I sold {t}. I slept. You should too",
        "The {t} crash cost me {thing}",
        "{t} collapsing, even {who} is short now",
        "paper hands were right, {t} fell to {price}",
        "{t} support lost on {span}, next stop the basement",
        "worst trade since {since}: {t}. everything gone, {left} remains",
        "rug. pulled. {t}.",
    ),
    "dip": (
        "buying more {t} at these prices, discount season",
        "down {pct}? Good. I buy {t} by the bucket now",
        "Everyone panics about {t}, I bought {amount} more at {price}",
        "love a sale. picked up {amount} {t} at {price}",
        "Blood on {span} is when I buy. More {t} for me",
        "yes it fell {pct}. yes I doubled my {t}. see you after {day}",
        "My {t} order at {price} finally filled, thank you panic sellers. Accumulating until {day}",
        "I have held {t} since {since} through worse than this. Bought again at {hour}",
        "cheap {t} is my love language, I buy every red candle and hold",
        "{t} on discount a week before {day}. Bullish combination",
        "weak hands sell me {t} at {price}, diamond hands say thanks 💎",
        "Same team, same product, {pct} cheaper. I buy {t} here and I sleep well",
    ),
    "top": (
        "took all my {t} profits at {price}, sold near the top",
        "Lovely chart. That is why I sold {t} at {hour}",
        "up {pct} in a week is not normal, I am out of {t} and short from here",
        "even {who} owns {t} now. I sell everything",
        "Sold the last {t} into this. What goes up like that comes down harder",
        "thanks for the exit, sold {t} to you all at {price}",
        "every {t} top since {since} looked exactly like this, selling before {day}",
        "Enjoy the view from up there, I sold. {t} crash by {day}",
    ),
    "told_bearish": (
        "the caption is a joke, I am down {pct} on {t} 😭",
        "laughing so I don't cry, {t} rekt me before {hour}",
        "that is what the group chat said. I lost {thing} on {t}, it crashed {pct}",
        "famous last words about {t}. Sold at a loss, {left} left",
    ),
    "told_bullish": (
        "remember when they posted this? {t} is up {pct} since 🚀",
        "they said this at {price}. Still holding, still winning, {t}",
        "posting what the {t} bears wrote in {month}, from {pct} up. Gains are gains",
    ),
    "quiet": (
        "gm from the {t} trenches",
        "me at {hour}",
        "how it went",
        "{t} holders this week",
        "live footage",
        "no comment, {t}",
        "{who} walked in at this exact moment",
        "my week in one picture",
        "and then {hour} happened",
        "just {t} things",
        "posting this for {who}",
        "found this while {doing}",
        "{t} and me since {since}, a love story",
        "as promised, the {t} update",
        "that {day} feeling",
        "normal day at the office with {t}",
    ),
    "ask": (
        "what am I looking at here? {t} on {span}",
        "can someone explain this {t} chart to me like I'm five",
        "Is this {pattern} or {pattern}? Asking before {day}",
        "Serious question: where do you read {t} volume on {span}?",
        "which app is this screenshot from?",
        "How do you read this? New to {t}, first week",
        "does {span} matter more than the 5 minute for {t}?",
        "Would you call this {pattern}? I have no position",
        "anyone know what happened to {t} at {hour}?",
        "why does my app show a different {t} price than this one?",
        "Trying to learn. Is {pattern} visible on {span} or do I imagine it",
        "not a holder, just curious: what moved {t} since {since}?",
        "is there a {t} meetup in town before {day}?",
        "What tool draws charts like this? Looks tidy",
        "poll: bullish or bearish on {t}? I honestly can't tell",
        "does anyone have the {t} data for {span} as a file?",
        "tax question: do I report {t} per trade or per year?",
        "could you please stop posting {t} and answer: how do I move it to a paper wallet?",
    ),
    "ask_up": (
        "is {t} really going to the moon or do all charts look like this?",
        "what does bullish even mean on {span}? {t} for context",
        "question from a beginner: why did {t} pump at {hour}?",
        "how do people know when a rally like {t} is over? Not holding, only reading",
        "did {t} go up because of news or because of nothing? Need it for class",
    ),
    "ask_down": (
        "why did {t} crash at {hour}? Not holding any, only curious",
        "what is the difference between a dump and a rug? {t} as the example",
        "question for the old ones: is a red week like this normal for {t}?",
        "where do I read who sold {t} at {hour}? For a school project",
        "does down {pct} count as a crash or is there another word for it? {t}",
    ),
    "teach": (
        "{term}, explained in one slide",
        "Lesson {n} of the beginners' thread: {term}",
        "Today in the course: what {term} is and what it is not",
        "A brief note on {term}, because {who} asked",
        "Bookmark this: {term} in three steps",
        "{term} in plain words, corrections welcome",
        "I made a slide about {term} for the meetup before {day}",
        "Before you ask about {t}, here is {term}. Slide attached",
        "Half of my messages are about {term}, so here it is once and for all",
        "Glossary, part {n}: {term}. No advice, no price talk, just what the word means",
    ),
    "news": (
        "{body} {act}",
        "In brief: {body} {act}, more after {day}",
        "{body} {act}. No reaction in {t} so far",
        "Reading the morning paper: {body} {act}",
        "Headline of the day, thoughts? {body} {act}",
        "Source for yesterday's question: {body} {act}",
        "ICYMI {body} {act}",
        "{body} {act}. Details in the notice",
    ),
    "flat": (
        "{t} has not moved since {hour}",
        "Week {n} of {t} doing nothing",
        "sideways. again. {t}",
        "{t} at {price}, same as yesterday, same as in {month}",
        "I watch {t} so you don't have to: nothing happened",
        "the {t} chart could be a shelf",
        "{t} volatility report: none",
        "Waiting for {t} to decide. No trades this week",
        "{t} range {n}, still inside it",
        "my {t} portfolio: 0.0%, mood: 0.0%",
    ),
}

TAILS: dict[str, tuple[str, ...]] = {
    "cheer": (
        "🚀",
        "🚀🌕",
        "💎🙌",
        "wagmi",
        "#bullish",
        "NFA but come on.",
        "See you up there.",
        "{who} thinks I am mad. The same person thought bread was a fad.",
        "I told {who} in {month} and I tell you now: the people who laughed at {price} will buy at the top.",
        "Been here since {since}, seen every kind of week, and never slept better than with this bag under my pillow.",
    ),
    "doom": (
        "📉",
        "😭😭",
        "🩸",
        "ngmi",
        "#rekt",
        "I have {left} left.",
        "Tell {who} I tried.",
        "Never again. Until {day}.",
        "I had {thing} picked out, I had the colour chosen, and now I am explaining to {who} what a liquidation is.",
        "If the chat asks where I went: I am {doing}, far from any screen, and I intend to stay there until {day}.",
    ),
    "dip": (
        "🛒",
        "See you after {day}.",
        "Patience is the whole trick.",
        "I told {who} the same in {month} and it was the best advice I ever gave.",
        "Not because of a line on a screen, but because people use it every day and the price forgot them for a week.",
    ),
    "top": (
        "🫡",
        "Good luck to whoever is still in.",
        "I would rather leave the party at {hour} than clean up after it.",
        "See you {pct} lower.",
    ),
    "ask": (
        "🤔",
        "Thanks in advance",
        "First post, be kind.",
        "I searched, found nothing.",
        "I asked {who} and got three answers, so now I ask the internet, which will surely give me a fourth.",
    ),
    "teach": (
        "📚",
        "Save it for later.",
        "Part of a series.",
        "Questions below.",
        "I keep these small on purpose: one idea, one drawing, no tips. If a line is wrong, tell me and I fix it.",
    ),
    "news": (
        "📰",
        "Link in the comments.",
        "No opinion, just passing it on.",
        "The full text runs to {n}0 pages; the part that matters is the annex, and it says less than the headline.",
    ),
    "flat": (
        "🥱",
        "😐",
        "Wake me after {day}.",
        "{who} asked for news. There is none.",
        "I opened the app at {hour}, I opened it again {doing}, I showed it to {who}, and the number was the number.",
    ),
    "quiet": ("🫠", "lol", "iykyk", "no further questions", "anyway"),
}
TAILS["ask_up"] = TAILS["ask_down"] = TAILS["ask"]
TAILS["told_bearish"], TAILS["told_bullish"] = TAILS["doom"][:6], TAILS["cheer"][:5]

ELSEWHERE: dict[str, tuple[str, ...]] = {  # a keyword list made for English knows none of these
    "cheer": (
        "إلى القمر يا {t}",
        "{t} vamos para la luna, no vendo nada",
        "всё растёт, {t} на луну",
        "{t} 爆上げ！まだまだ持ちます",
        "{t} geht ab, ich halte bis {n}000",
    ),
    "doom": (
        "خسرت كل شيء في {t}",
        "הכול אדום, {t} גמור",
        "{t} se hunde, vendí con pérdida",
        "всё пропало, {t} упал",
        "{t} 暴落、もう終わりだ",
    ),
    "dip": ("اشتريت المزيد من {t} وهو رخيص", "más barato, más {t} para mí"),
    "ask": (
        "ما معنى هذا الرسم؟ {t}",
        "איך קוראים את הגרף הזה? {t}",
        "¿alguien me explica este gráfico de {t}?",
        "{t} このチャートの見方を教えてください",
    ),
    "flat": ("{t} بلا حركة منذ أسبوع", "{t} 今日も動かず", "{t} боковик, день {n}"),
}

SLOT = re.compile(r"\{(\w+)\}")


def fill(rng: Random, pattern: str, subject: dict[str, str]) -> str:
    """What the post is about (ticker, term, news) is given; every other slot gets its own word."""
    used: set[str] = set()

    def choose(slot: re.Match[str]) -> str:
        word = subject.get(slot[1]) or str(rng.randint(2, 40))
        if slot[1] in SLOTS and slot[1] not in subject:
            word = rng.choice([option for option in SLOTS[slot[1]] if option not in used])
            used.add(word)
        opens = slot.start() == 0 or pattern[slot.start() - 2] in ".?!"
        return word[0].upper() + word[1:] if opens else word

    return SLOT.sub(choose, pattern)


def text(rng: Random, kind: str, subject: dict[str, str]) -> str:
    """One to four sentences, sometimes shouted, now and then not in English."""
    if kind in ELSEWHERE and rng.random() < 0.04:
        return fill(rng, rng.choice(ELSEWHERE[kind]), subject)
    sentences = 1 if kind in ("news", "teach", "quiet") else rng.choice((1, 1, 1, 1, 1, 1, 2, 2, 3))
    patterns = rng.sample(TEXTS[kind], sentences)
    if rng.random() < 0.55:
        patterns.append(rng.choice(TAILS[kind]))
    said = join([fill(rng, pattern, subject) for pattern in patterns])
    return said.upper() if kind in ("cheer", "doom") and rng.random() < 0.12 else said


def join(parts: list[str]) -> str:
    said = parts[0]
    for part in parts[1:]:
        stop = "." if said[-1].isalnum() and (part[:1].isalnum() or part[:1] == "$") else ""
        said = f"{said}{stop} {part}".strip()
    return said
