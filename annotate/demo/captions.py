"""What is written inside the pictures: meme captions by side, headlines, and the slides of the explainers."""

CAPTIONS: dict[str, tuple[tuple[str, str], ...]] = {  # top, bottom
    "cheer": (
        ("Told you so", "to the moon"),
        ("Me explaining to my landlord", "that we are so early"),
        ("Diamond hands", "do not shake"),
        ("They laughed at my bag", "who is laughing now"),
        ("Up only", "no other direction exists"),
        ("Retirement plan", "working as intended"),
        ("Not selling", "not even for dinner"),
        ("POV: you held", "and got rich"),
        ("", "we are going to need a bigger wallet"),
        ("One more buy", "and then the moon"),
        ("Financial freedom", "arrives by friday"),
        ("Green candles", "for breakfast"),
        ("Nothing can stop", "the bulls now"),
        ("Buy more", "thank me later"),
        ("", "gains"),
    ),
    "doom": (
        ("It was fun", "while it lasted"),
        ("Me checking my portfolio", "through my fingers"),
        ("The devs", "have left the chat"),
        ("Sold the bottom", "again"),
        ("Bought the top", "as is tradition"),
        ("POV: it's over", ""),
        ("", "exit liquidity reporting for duty"),
        ("Rent is due", "the chart disagrees"),
        ("They said it cannot go lower", "they were so young"),
        ("Goodbye savings", "hello instant noodles"),
        ("Everything", "is fine until it is not"),
        ("I should have sold", "i did not sell"),
        ("", "rug pulled"),
        ("This market", "ate my lunch"),
        ("Pack your things", "the bull run is over"),
    ),
    "dip": (
        ("Everyone panics", "i go shopping"),
        ("Clearance sale", "while stocks last"),
        ("Others see red", "i see a discount"),
        ("", "more please"),
        ("Fear", "is a coupon"),
    ),
    "top": (
        ("Beautiful view", "i get off here"),
        ("Your fear of missing out", "is my exit"),
        ("What a party", "i have called my taxi"),
        ("", "sold"),
    ),
    "ask": (
        ("Is this normal", ""),
        ("", "can anybody explain"),
        ("What does it mean", ""),
        ("", "asking for a friend"),
        ("", ""),
        ("", ""),
    ),
    "flat": (
        ("Nothing", "ever happens"),
        ("Day 47", "of watching a line"),
        ("", "any minute now"),
        ("Sideways", "is also a direction"),
        ("Still here", "still zero"),
        ("Breaking news", "there is none"),
        ("Me waiting", "for literally anything"),
    ),
    "none": (("", ""),),
}

PANELS: dict[str, tuple[tuple[str, str], ...]] = {  # the upper and the lower panel
    "cheer": (
        ("Before the pump", "after the pump"),
        ("Everybody sold", "I held and won"),
        ("My job", "my gains"),
        ("Week one", "to the moon"),
        ("Paper hands", "diamond hands"),
        ("The forecast", "the gains"),
        ("Renting", "buying the boat"),
        ("Before the bull run", "during the bull run"),
        ("Sunday: rich", "Monday: richer"),
        ("Them: selling", "me: winning"),
    ),
    "doom": (
        ("Before the crash", "after the crash"),
        ("The roadmap", "the rug pull"),
        ("Going to bed", "waking up poor"),
        ("Should I sell", "I should have sold"),
        ("Holding", "liquidated"),
        ("Listing day", "the crash"),
        ("Savings", "no savings"),
        ("My plan", "my losses"),
        ("Friday: hope", "Monday: regret"),
        ("Bought the top", "sold the bottom"),
    ),
    "flat": (
        ("January", "June"),
        ("Before the news", "after the news"),
        ("Me at nine", "me at five"),
        ("The hype", "the chart"),
        ("Expectation", "the same"),
        ("Checking it once", "checking it again"),
        ("Last year", "this year"),
    ),
}

HEADLINES: dict[str, tuple[str, ...]] = {
    "bullish": (
        "{t} jumps {pct} as buyers return",
        "Record inflows lift {t} to a new high",
        "{t} rally enters its third week",
        "Investors pile into {t}, price soars {pct}",
    ),
    "bearish": (
        "{t} plunges {pct} in a single night",
        "Panic as {t} loses {pct} of its value",
        "{t} slump deepens, lenders in trouble",
        "Traders flee {t} after {pct} drop",
    ),
    "neutral": (
        "{body} {act}",
        "{body} {act}, {t} unmoved",
        "{body} {act}, details to follow",
        "As expected, {body} {act}",
    ),
}

SLIDES: dict[str, tuple[str, tuple[str, ...]]] = {  # by the term they explain
    "slippage": ("What is slippage?", ("Price moves while you order", "Thin books move more", "A limit caps it")),
    "a limit order": (
        "How does a limit order work?",
        ("You name the price", "The order waits", "It fills there, or never"),
    ),
    "a cold wallet": (
        "Hot wallet or cold wallet?",
        ("Hot: online, handy", "Cold: offline, slow", "Many people use both"),
    ),
    "a candle": ("Reading a candle", ("Body: open to close", "Wicks: high and low", "Colour: which way")),
    "market cap": (
        "What does market cap tell you?",
        ("Price times supply", "Not money paid in", "Compare like with like"),
    ),
    "a seed phrase": (
        "Seed phrase basics",
        ("Twelve or more words", "Write them on paper", "Nobody should ask for them"),
    ),
    "gas": ("What are gas fees?", ("You pay for block space", "Busy hours cost more", "Unused gas comes back")),
    "block time": (
        "Why do blocks take time?",
        ("Nodes must agree", "Distance costs seconds", "Speed trades with safety"),
    ),
    "staking": ("Staking in three steps", ("Lock some coins", "Help check blocks", "Earn fees, mind the lock")),
    "an order book": ("What is an order book?", ("Bids on one side", "Asks on the other", "The gap is the spread")),
    "a stablecoin": (
        "What backs a stablecoin?",
        ("Cash in a bank", "Other coins as collateral", "Sometimes only a promise"),
    ),
    "record keeping": ("Taxes: which records to keep?", ("Date and amount", "Price on that day", "Fees, both ways")),
    "a bridge": ("How do bridges move coins?", ("Lock here", "Mint a copy there", "Burn it to go back")),
    "a rollup": ("What is a rollup?", ("Many trades, one bundle", "Proof goes on chain", "Fees are shared")),
    "trading volume": (
        "Volume: what does it count?",
        ("Coins that changed hands", "Every trade has two sides", "Wash trades inflate it"),
    ),
    "a private key": (
        "Public key, private key",
        ("Public: your address", "Private: your signature", "Never mix them up"),
    ),
}
