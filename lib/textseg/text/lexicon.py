"""The words of radiology reports that the reader knows, by what they do in a sentence. Tables only.

Lobes and zones are thirds of a lung's height: upper (upper lobe, apex), middle (middle lobe, lingula, hilum), lower
(lower lobe, base, costophrenic angle; behind the heart is left lower).
"""

import re
from types import MappingProxyType

# Written forms that become one word, in this order. What stands for nothing here (sizes, dates, times) goes away.
REWRITTEN = tuple(
    (re.compile(pattern, re.IGNORECASE), f" {word} ")
    for pattern, word in (
        (r"\bb\s?/\s?l\b|\bbi[ -]?lat\b|\bbi-lateral", "bilateral"),
        (r"\bw\s?/\s?o\b", "without"),
        (r"\bw/", "with"),
        (r"\bcov(id)?[ -]?(19)?\b|\bsars[ -]?cov[ -]?2?\b|\bcoronavirus( disease)?\b", "covid"),
        (r"\bco-?rads \d\b", ""),
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
            r"\b(not|in ?complete(ly)?|partial(ly)?|non)[ -](yet |fully |completely |entirely )?(resol|clear)\w*\b",
            "persistent",
        ),
        (
            r"\b(is|are|was|were|has|have)? ?(been )?(no longer|not|now absent) "
            r"(seen|visible|present|identified|evident|visuali[sz]ed|demonstrated|detected)\b",
            "resolved",
        ),
        (r"\bnot only\b", ""),
        (r"\bno longer\b", "without"),
        (r"\bapart from\b|\bwith the exception of\b", "except"),
        (r"\b(behind|posterior to) the (heart|cardiac shadow)\b|\bretro[ -]?cardiac(ally)?\b", "retrocardiac"),
        (r"\bcosto[ -]?phrenic\b|\bcp (?=angle|recess)", "costophrenic"),
        (r"\bpara[ -]?hil\w+\b|\bperi[ -]?hil\w+\b", "perihilar"),
        (r"\bbi[ -](?=bas|apic)", "bi"),
        (r"\bmid[ -]?zones?\b", "mid zone"),
        (r"\b(more|greater|worse) than\b|>+", "more"),
    )
)

STRONG = """
opacity opacities opacification opacifications opacified opac consolidation consolidations consolidative consolidated
consolidating consol infiltrate infiltrates infiltration infiltrations infiltrative groundglass pneumonia pneumonias
pneumonic pneumonitis bronchopneumonia airspace shadowing infection infections infected infective infectious haziness
hazy covid inflammation inflammatory inflamed pna ards
"""
WEAK = """
patch patches patchy area areas foci focus focal region regions spot spots lesion lesions shadow shadows density
densities disease abnormality abnormalities involvement involved involving change changes process processes finding
findings affected marking markings blotch blotches emboli airspaces acute active pulmonary cardiopulmonary
"""
SIDES = MappingProxyType(
    {
        **dict.fromkeys(("left", "l", "lt", "lft", "lef", "leftsided"), "left"),
        **dict.fromkeys(("right", "r", "rt", "rgt", "rightsided"), "right"),
        **dict.fromkeys(("bilateral", "bilaterally", "both", "either", "each"), "both"),
    }
)
UPPER = ("upper", "upr", "superior", "apex", "apices", "apical", "apically", "uz")
MIDDLE = ("middle", "mid", "central", "hilum", "hila", "hilar", "perihilar", "mz")
LOWER = ("lower", "lwr", "inferior", "base", "bases", "basal", "basally", "basilar", "costophrenic", "lz")
ALL = ("all", "whole", "entire", "diffuse", "diffusely", "throughout", "complete", "extensive")
ZONE_WORDS = MappingProxyType(
    {
        **dict.fromkeys(UPPER, "upper"),
        **dict.fromkeys(MIDDLE, "middle"),
        **dict.fromkeys(LOWER, "lower"),
        **dict.fromkeys(ALL, "all"),
    }
)
# Words that name side and zone at once: RUL, LLZ, lingula, bibasal. Each lung with the zone.
PLACED = MappingProxyType(
    {
        **{
            f"{side[0]}{zone[0]}{unit}": ((side, zone),)
            for side in ("left", "right")
            for zone in ("upper", "middle", "lower")
            for unit in "lz"
        },
        **dict.fromkeys(("lingula", "lingular"), (("left", "middle"),)),
        "retrocardiac": (("left", "lower"),),
        **dict.fromkeys(("bibasal", "bibasilar", "bibasally", "bibasilarly"), (("left", "lower"), ("right", "lower"))),
        **dict.fromkeys(("biapical", "biapically"), (("left", "upper"), ("right", "upper"))),
    }
)
UNITS = """
lung lobe zone field hemithorax chest thorax side sided segment segmental third half portion part aspect angle recess
lungs lobes zones fields sides segments thirds portions parts aspects angles recesses hemithoraces lobar zonal
parenchyma
"""
NO = "no not nor without none nil nothing never neither negative absence absent denies lacks lacking free"
CLEAR = """
clear clears cleared normal unremarkable resolved nad spared aerated inflated unaffected uninvolved healthy
"""
REST = "otherwise rest remainder remaining elsewhere other else residual"
BUT = "but however although though while whilst whereas yet now there obscures obscuring silhouetting silhouettes"
EXCEPT = "except excepting sparing spares"
AND = "and or plus as"
OF = "of in on at to within over from involving affecting near along into towards around"
MORE = """
more worse greater predominantly predominant predominance mainly especially particularly mostly maximal marked
markedly worst most dominant preferentially primarily chiefly asymmetric less
"""
COUNTED = """
area areas focus foci patch patches opacity opacities consolidation consolidations infiltrate infiltrates region
regions spot spots lesion lesions place places site sites groundglass
"""
POSSIBLE = """
possible possibly may might could questionable question query equivocal potential potentially maybe perhaps unclear
"""
PROBABLE = """
probable probably likely suspected suspicious suspicion suggestive suggesting suggests suggest concerning presumed
presumably favored favoured compatible
"""
HEDGES = MappingProxyType(dict.fromkeys(POSSIBLE.split(), "possible") | dict.fromkeys(PROBABLE.split(), "probable"))
CORRECTIONS = ("sorry", "correction", "scratch")
# How a sentence begins that tells the history and not the picture.
HISTORIES = ("indication", "history", "clinical", "reason", "request", "referral", "comparison", "technique", "hx")
# Findings that share their place with an infection beside them ("left basal atelectasis or consolidation").
SHARED = ("atelectasis", "atelectases", "atelectatic", "collapse", "collapsed", "nodular")
# Findings and things that the models do not know: alone they are refused, beside an infection they are passed over.
OTHERS = """
effusion effusions pneumothorax pneumothoraces fracture fractures nodule nodules nodular mass masses tumor tumour
tumors tumours cancer carcinoma metastasis metastases malignancy tube tubes ett ngt line lines catheter catheters picc
cvc drain pacemaker icd leads stent valve clips sternotomy wires port cardiomegaly heart cardiac cardiomediastinal
mediastinum mediastinal aorta aortic trachea tracheal carina atelectasis atelectases atelectatic collapse collapsed
emphysema emphysematous copd fibrosis fibrotic oedema edema congestion congested hernia scoliosis bone bones bony
osseous rib ribs spine spinal vertebra vertebrae vertebral clavicle shoulder diaphragm hemidiaphragm diaphragms
hemidiaphragms lymphadenopathy lymph adenopathy calcification calcifications calcified granuloma granulomas embolism
embolus thrombus pleura pleural pericardial ventricle atrium silhouette contour contours bullae bulla cyst cysts
bronchiectasis pneumomediastinum pneumoperitoneum abdomen abdominal liver spleen stomach bowel kidney brain vessel
vessels vascular vascularity scar scarring mastectomy lobectomy pneumonectomy surgery goiter goitre thyroid breast
nipple foreign device devices hardware tip
"""
FILLER = """
corresponding a an the is are was were be been being has have had there this that these those it its which seen noted
shown shows show showing demonstrated demonstrates demonstrate present evidence sign signs appearance appearances
appears appear appearing with also again still persistent persisting unchanged stable new newly old older known early
late subtle faint mild mildly moderate moderately severe severely minimal minimally small large larger smaller tiny
extensive dense denser ill well defined illdefined confluent multifocal multiple several few some scattered widespread
subpleural peripheral peripherally posterior posteriorly anterior anteriorly lateral laterally medial medially
dependent focal segmentally increasing increased increase decreasing decreased decrease improving improved worsening
progressive progressing interval compared comparison previous previously prior study film exam examination radiograph
radiographs xray cxr ct scan image images view views ap pa portable supine erect frontal impression conclusion
findings report clinical history for please mark segment outline delineate annotate find highlight where only just
both very slightly somewhat more predominantly non specific nonspecific typical atypical bacterial viral organizing
organising aspiration tuberculosis tb cavitating cavitation cavitary round rounded linear reticular interstitial
alveolar lobular nodularity distribution pattern type component consistent keeping representing represent represents
reflecting reflect due secondary suggestive such superimposed underlying associated adjacent blunting volume loss size
enlarged within limits given patient man woman male female fever cough dyspnea dyspnoea pm am today yesterday day days
since follow up followup post status s x if do does can could should would will any air bronchogram bronchograms
definite significant convincing obvious discrete overt gross evident visible identified appreciable detected level
levels tissue soft structures one's coalescent hazily patchily homogeneous heterogeneous inhomogeneous mixed septal
thickening slight space spaces lift loft lent lest solid subsolid halo reversed geographic like then than so when by
bit quite rather about approximately roughly
"""
NUMBERS_IN_ORDER = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
NUMBER_VALUES = MappingProxyType(
    {word: number for number, word in enumerate(NUMBERS_IN_ORDER, start=1)}
    | {"single": 1, "solitary": 1, "lone": 1, "couple": 2, "pair": 2}
)
# Words that only other languages have; one of them beside unknown words, or two, make a foreign sentence.
FOREIGN = """
der die das im und ohne mit kein keine des dem den ein eine rechts links rechten linken beidseits lunge le la les du
et avec sans gauche droit droite poumon aux une el los las con sin pulmon izquierdo derecho izquierda derecha lobulo
il lo gli nel nella polmone destro sinistro com sem esquerdo direito pulmao pulmonar het een en van zonder met longen
och vanster hoger bez lewe prawe alla alle dei della destra sinistra del
"""


def _kinds() -> dict[str, str]:
    kinds: dict[str, str] = {}
    for kind, words in (
        ("filler", FILLER),
        ("weak", WEAK),
        ("other", OTHERS),
        ("strong", STRONG),
        ("unit", UNITS),
        ("no", NO),
        ("clear", CLEAR),
        ("rest", REST),
        ("but", BUT),
        ("except", EXCEPT),
        ("and", AND),
        ("of", OF),
        ("more", MORE),
    ):
        kinds |= dict.fromkeys(words.split(), kind)
    kinds |= dict.fromkeys(SIDES, "side") | dict.fromkeys(ZONE_WORDS, "zone") | dict.fromkeys(PLACED, "placed")
    kinds |= dict.fromkeys(NUMBER_VALUES, "number") | dict.fromkeys(HEDGES, "hedge")
    return kinds


KINDS = MappingProxyType(_kinds())
# Words that a misspelt one may stand for, by their length.
LONG_WORDS = MappingProxyType(
    {length: tuple(word for word in KINDS if len(word) == length) for length in range(4, 1 + max(map(len, KINDS)))}
)
