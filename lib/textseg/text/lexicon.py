"""The words of radiology reports that the reader knows, by what they do in a sentence. Tables only.

Lobes and zones are thirds of a lung's height: upper (upper lobe, apex), middle (middle lobe, lingula, hilum), lower
(lower lobe, base, costophrenic angle; behind the heart is left lower).
"""

from types import MappingProxyType

STRONG = """
opacity opacities opacification opacifications opacified opac consolidation consolidations consolidative consolidated
consolidating consol infiltrate infiltrates infiltration infiltrations infiltrative groundglass pneumonia pneumonias
pneumonic pneumonitis bronchopneumonia airspace shadowing infection infections infected haziness hazy covid pna ards
patch patches shadow shadows
"""
WEAK = """
patchy area areas foci focus focal region regions spot spots lesion lesions density densities disease abnormality
abnormalities involvement involved involving change changes process processes finding findings affected marking
markings blotch blotches emboli airspaces acute active pulmonary cardiopulmonary inflammatory infective infectious
inflamed inflammation
"""
SIDES = MappingProxyType(
    {
        **dict.fromkeys(("left", "l", "lt", "lft", "lef", "leftsided"), "left"),
        **dict.fromkeys(("right", "r", "rt", "rgt", "rightsided"), "right"),
        **dict.fromkeys(("bilateral", "bilaterally", "both", "either", "each"), "both"),
    }
)
UPPER = ("upper", "upr", "superior", "apex", "apices", "apical", "apically", "uz", "ul", "top")
MIDDLE = ("middle", "mid", "central", "hilum", "hila", "hilar", "perihilar", "mz")
LOWER = ("lower", "lwr", "inferior", "base", "bases", "basal", "basally", "basilar", "bottom", "costophrenic")
LOWER_SHORT = ("lz", "ll")
ALL = ("all", "whole", "entire", "diffuse", "diffusely", "throughout")
ZONE_WORDS = MappingProxyType(
    {
        **dict.fromkeys(UPPER, "upper"),
        **dict.fromkeys(MIDDLE, "middle"),
        **dict.fromkeys((*LOWER, *LOWER_SHORT), "lower"),
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
NO = "no not nor without none nil nothing never neither negative absence absent denies lacks lacking free instead neg"
CLEAR = """
clear clears cleared normal unremarkable resolved nad spared aerated inflated unaffected uninvolved healthy resolution
clearing clearance gone disappeared healed settled subsided unlikely
"""
REST = "otherwise rest remainder remaining elsewhere other else"
BUT = """
but however although though while whilst whereas yet obscures obscuring silhouetting silhouettes previously formerly
"""
EXCEPT = "except excepting excluding sparing spares"
AND = "and or plus as"
OF = "of in on at to within over from involving affecting near along into towards around"
MORE = """
more worse greater predominantly predominant predominance mainly especially particularly mostly maximal marked
markedly worst most dominant preferentially primarily chiefly asymmetric
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
# Landmarks: in a sentence without a finding ("CP angles clear", "left hilum enlarged") they are no place in a lung.
ANATOMY = ("costophrenic", "hilum", "hila", "hilar")
# Parts of the body in which an infection is none of the lungs.
BODY_WORDS = """
kidney renal urinary bladder knee foot hand ear dental tooth molar wound skin sinus throat prostate abdomen abdominal
nipple breast
"""
BODY = frozenset(BODY_WORDS.split())
# What a place may be called without being infected, and what may follow a denial that ends a clause.
NEUTRAL = ("unchanged", "stable", "improved", "similar", "blunting", "blunted", "enlarged", "elevated")
ENDINGS_WORDS = """
seen identified present visible detected noted now is are has have been today completely complete the it
"""
ENDINGS = frozenset(ENDINGS_WORDS.split())
CAUSES = (
    "consistent",
    "is",
    "are",
    "represents",
    "represent",
    "representing",
    "due",
    "secondary",
    "reflects",
    "reflecting",
)
OLD = ("old", "chronic", "post", "healed", "previous", "prior", "previously", "longstanding", "sequelae")
STUDIES = ("study", "film", "exam", "examination", "radiograph", "xray", "scan", "ct", "cxr", "image", "images")
CORRECTIONS = ("sorry", "correction", "scratch")
# How a sentence begins that tells the history and not the picture.
HISTORIES = (
    "indication",
    "history",
    "clinical",
    "clin",
    "reason",
    "request",
    "referral",
    "comparison",
    "technique",
    "hx",
    "prior",
    "previous",
    "previously",
)
# Findings that share their place with an infection beside them ("left basal atelectasis or consolidation").
SHARED = ("volume", "atelectasis", "atelectases", "atelectatic", "collapse", "collapsed", "nodular")
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
nipple foreign device devices hardware tip haemothorax hemothorax resected resection surgical postsurgical
radiotherapy irradiation renal urinary bladder knee foot hand ear dental tooth molar wound skin sinus throat prostate
volume sequelae pain bronchiectatic hyperinflation bronchovascular fibrocalcific bullous venous diversion coin
cannonball
"""
FILLER = """
residual nearly completely complete extensive extensively corresponding a an the is are was were be been being has
have had there this that these those it its which seen noted shown shows show showing demonstrated demonstrates
demonstrate present evidence sign signs appearance appearances appears appear appearing with also again still
persistent persisting unchanged stable new newly old older known early late subtle faint mild mildly moderate
moderately severe severely minimal minimally small large larger smaller tiny dense denser ill well defined illdefined
confluent multifocal multiple several few some scattered widespread subpleural peripheral peripherally posterior
posteriorly anterior anteriorly lateral laterally medial medially dependent focal segmentally increasing increased
increase decreasing decreased decrease improving improved worsening progressive progressing interval compared
comparison previous prior study film exam examination radiograph radiographs xray cxr ct scan image images view views
ap pa portable supine erect frontal impression conclusion findings report clinical history for please mark segment
outline delineate annotate find highlight where only just both very slightly somewhat more predominantly non specific
nonspecific typical atypical bacterial viral organizing organising aspiration tuberculosis tb cavitating cavitation
cavitary round rounded linear reticular interstitial alveolar lobular nodularity distribution pattern type component
consistent keeping representing represent represents reflecting reflect due secondary suggestive such superimposed
underlying associated adjacent blunting size enlarged within limits given patient man woman male female fever cough
dyspnea dyspnoea pm am today yesterday day days since follow up followup post status s x if do does can could should
would will any air bronchogram bronchograms definite significant convincing obvious discrete overt gross evident
visible identified appreciable detected level levels tissue soft structures one's coalescent hazily patchily
homogeneous heterogeneous inhomogeneous mixed septal thickening slight space spaces lift loft lent lest solid subsolid
halo reversed geographic like then than so when by bit quite rather about approximately roughly now too showed
revealed remains remain persists currently loss
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
# A side in another language is enough.
FOREIGN_SIDES = """
rechts links rechten linken rechte linke gauche droit droite izquierdo derecho izquierda derecha esquerdo direito
esquerda direita destro sinistro destra sinistra kanan kiri lewe prawe vanster hoger
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
