"""What people write in several ways -> one word for the reader: shorthand, dictated marks, sizes and dates. A table."""

import re

# Written forms that become one word, in this order. What stands for nothing here (sizes, dates, times) goes away.
REWRITTEN = tuple(
    (re.compile(pattern, re.IGNORECASE), f" {word} ")
    for pattern, word in (
        (r"\bb\s?/\s?l\b|\bbi[ -]?lat\b|\bbi-lateral", "bilateral"),
        (r"\bw\s?/\s?o\b", "without"),
        (r"\bw/", "with"),
        (r"\bcov(id)?[ -]?(19)?\b|\bsars[ -]?cov[ -]?2?\b|\bcoronavirus( disease)?\b", "covid"),
        (r"\bco-?rads \d\b", ""),
        (r"\bhigh[ -]resolution\b", ""),
        (r"\b(that'?s|all) right\b|, ?right ?\?|^\s*right, so\b", ""),
        (r"\b(is|much|little|what) left (?=of|in\b)", ""),
        (r"\b(right|left|upper|middle|lower)(?=(upper|middle|lower|lobe|lung|zone)s?\b)", r"\1"),
        (r"\brather than\b", "not"),
        (r"\b(upper|lower) limits? of normal\b", ""),
        (r"\s*(--+|[\u2013\u2014\u2026|\u2022\u00b7])\s*", "-"),
        (r"\bfull stop\b|\bnew (paragraph|line)\b", "."),
        (r"\bother (?=lung|side)", "contralateral"),
        (r"\d+([.,]\d+)?(\s?[x*]\s?\d+([.,]\d+)?)*\s?(mm|cm|ml|hu|%|percent)(?!\w)", ""),
        (r"\b\d+[ -]?(second|minute|hour|day|week|month|year|yr|yo|y)s?([ -]old)?\b", ""),
        (r"\b\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}\b|\b\d+(st|nd|rd|th)\b", ""),
        (r"\b[ltc]\d{1,2}\b", "vertebra"),
        (r"\bg\.?g\.?o'?s?\b|\bground[ -]?glass(es)?\b", "groundglass"),
        (r"\bair[ -]space\b", "airspace"),
        (r"\btree[ -]in[ -]bud\b|\bcrazy[ -]paving\b|\bwhite[ -]?out\b|\bair[ -]bronchograms?\b", "opacity"),
        (
            r"\b(can ?not|can'?t|couldn'?t|(could|may) not) (be )?((entire|complete)ly )?(exclud\w+|ruled? out)\b",
            "possible",
        ),
        (r"\bnot (be |entirely |completely )*(excluded|ruled out)\b|\brule[ -]?out\b|\br/o\b", "possible"),
        (
            r"\b(no|without|not) (significant(ly)? |interval |appreciabl[ey] |definite |much |any )*"
            r"(chang|improv|worsen|progress|doubt)\w*\b",
            "unchanged",
        ),
        (
            r"\b(not|in ?complete(ly)?|partial(ly)?|non|near(ly)?|almost|mostly|largely)[ -]"
            r"(yet |fully |completely |entirely )?(resol|clear)\w*\b",
            "persistent",
        ),
        (
            r"\b(is|are|was|were|has|have)? ?(been )?(no longer|not|now absent) "
            r"(seen|visible|present|identified|evident|visuali[sz]ed|demonstrated|detected|confirmed)\b",
            "resolved",
        ),
        (r"\b(has been |have been |was |is )?(excluded|ruled out)\b", "resolved"),
        (r"\bpreviously (noted|seen|described|reported|known|documented)\b", ""),
        (r"\bnot only\b", ""),
        (r"\bno longer\b", "without"),
        (r"\b(apart|aside) from\b|\bother than\b|\bwith the exception of\b", "except"),
        (r"\b(behind|posterior to) the (heart|cardiac shadow)\b|\bretro[ -]?cardiac(ally)?\b", "retrocardiac"),
        (r"\bcosto[ -]?phrenic\b|\bcp (?=angle|recess)", "costophrenic"),
        (r"\bpara[ -]?hil\w+\b|\bperi[ -]?hil\w+\b", "perihilar"),
        (r"\bbi[ -](?=bas|apic)", "bi"),
        (r"\bmid[ -]?zones?\b", "mid zone"),
        (r"\b(more|greater|worse) than\b|>+", "more"),
    )
)
