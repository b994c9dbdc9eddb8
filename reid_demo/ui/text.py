"""Every word the visitor reads."""

TITLE = "Hide a part, search again, see why"
DESCRIPTION = (
    "Person re-identification with dynamic part templates: bring a person's picture, hide or crop a part, "
    "and see which gallery images match, which part earned the score, and what the change did."
)
HONESTY = "A ranking is a list of candidates for a human to verify, never an identification."

CHIP_WEIGHTS, CHIP_DEVICE, CHIP_GALLERY = "weights", "runs on", "gallery"
GALLERY_SIZE = "{name}: {images:,} images of {people:,} people"

STEP_EXAMPLES = "Start with an example"
STEP_PROBE = "Probe"
STEP_HIDE = "Hide or crop"
STEP_RANKING = "Ranked matches"
STEP_WHY = "Why this match"
STEP_ABOUT = "About the model"

EXAMPLES_LABEL = "Example probes: one click searches"
EXAMPLE_KINDS = {"whole": "whole", "occluded": "occluded", "partial": "partial", "absent": "not in the gallery"}
UPLOAD = "Upload a picture"
CANVAS_LABEL = "Probe. Paint over a part or crop it, then press Search with this"
SEARCH = "Search with this"
UNDO = "Undo"
BACK = "Back to original"
FILL = "Fill"
FILLS = {"mean_grey": "mean grey", "blur": "blur", "noise": "noise", "black": "black", "inpaint": "background"}
OCCLUDERS = {
    "lower_half": "Lower half",
    "upper_half": "Upper half",
    "left_half": "Left half",
    "right_half": "Right half",
    "upper_third": "Upper third",
    "middle_third": "Middle third",
    "lower_third": "Lower third",
    "centre": "Centre",
    "random_block": "Random block",
    "person": "Person",
    "object": "Object",
}
BLOCK_HEADING = "Random block: how large, which one"
COVERAGE = "Covered area, percent"
SEED = "Seed; empty: another block at each click"
RECIPE_HEADING = "Recipe: save, load, replay"
RECIPE_BOX = "Changes as JSON"
RECIPE_INFO = "Boxes are fractions of the picture, so a recipe replays on any probe."
REPLAY = "Apply this recipe"
RECIPE_FILE = "Load from a file"
RECIPE_UNREADABLE = "The recipe is not JSON text. Use one that this page or `what-if` wrote."
RECIPE_SAVE = "Save as a file"
KEEP_RECIPE = "Keep the changes when I choose another probe"
CROP_HEADING = "Crop by exact numbers"
CROP_FIELDS = ("x", "y", "width", "height")
CROP = "Crop"
CROP_NEEDS = "Fill in x, y, width and height of the crop, in pixels of the probe as it is now."
CROP_OUTSIDE = "The crop {x}, {y}, {w} x {h} leaves the probe, which is {width} x {height} pixels."
DECISIONS = {"confirmed": "confirmed", "rejected": "rejected"}
DECISION_MARKS = {"confirmed": "confirmed", "rejected": "rejected"}
KIND_WORDS = {"brush": "painted", "crop": "crop", "box": "box"}

SETTINGS = "Ranking settings"
TOP_K = "How many matches"
WEIGHING = "How parts are weighed"
WEIGHING_INFO = "On probe and gallery alike"
WEIGHINGS = {"plain": "cosine", "adaptive": "adaptive (Eq. 8)", "part_aware": "part-aware"}
SAME_CAMERA = "Ignore same camera"
SAME_CAMERA_INFO = "Leave out the probe's own person under its own camera"
SWITCHES = "Parts that count"
SWITCHES_INFO = "Switch parts off to see the list move; at least one stays on"

STRIP_LABEL = "Ranked matches, best first. Click one to see why"
USE_AS_PROBE = "Use this match as probe"
RIGHT, WRONG = "✓", "✗"
CAPTION = "#{rank} {mark} {move}\n{similarity:.3f}\nid {pid}\ncam {camid}"
UNKNOWN = "?"
DISTRACTOR = "none"
UP, DOWN, STILL = "▲{by}", "▼{by}", "="

PROBE_LINE = "{title}: {width} x {height} px"
PROBE_KNOWN = ", id {pid}, camera {camid}"
RECIPE = "Changes: {steps}"
NO_RECIPE = "Untouched"
STATUS_RIGHT = "First right match at rank {rank}."
STATUS_MOVED = "First right match: rank {before} untouched, rank {after} now."
STATUS_ABSENT = "This person is not in the gallery: every candidate is wrong, however high it scores."
STATUS_UNKNOWN = "The probe's identity is not known, so nothing is marked right or wrong."
STATUS_CHANGED = "{count} of the top {top_k} were not there before the change."
STATUS_SAME = "The change brought no new image into the top {top_k}."
STATUS_KEY = "Blue frame and ✓: same person. Orange frame and ✗: another. ▲▼: move against the untouched probe."

UPLOADED = "Your picture"
FROM_GALLERY = "Gallery image, id {pid}"
EXAMPLE_TITLE = "Example: {title}"

WHY_EMPTY = "Click a ranked match to see which parts earned its score."
WHY_HEADING = "Match #{rank}, similarity {similarity:.4f}"
WHY_PROBE, WHY_MATCH = "probe", "match"
WHY_MATCH_OF = "match, id {pid}, camera {camid}"
WHY_CONTRIBUTIONS = "What each part adds to the similarity"
WHY_SUM = "sum = similarity"
WHY_PRESENCE = "Part presence"
WHY_PRESENCE_NOTE = (
    "Presence is relative attention and sums to 1 whatever is hidden. It is not a measure of what can be seen."
)
WHY_HEAT = "Where each part template looks"
WHY_HEAT_NOTE = "Same scale for every picture: attention as a multiple of uniform."
WHY_POINT = "Point at a part, or tab to it, to see its heatmap on both pictures."
WHY_DISTANCES = "This match under each way of weighing"
WHY_DISTANCES_NOTE = (
    "Cosine: every part counts alike. Adaptive: each side's parts are weighed by its own presence. Part-aware: the "
    "mean of the parts' cosines, weighed by the presence on both sides; the paper leaves it to future work."
)
DISTANCE_COLUMNS = ("weighing", "similarity", "rank")
WHY_NO_PARTS = "This model has a global descriptor only, so it has no part templates to show."
HEAT_ALT = "{name} on the {side}: strongest attention {peak:.1f} times uniform, {place}"
PLACES = (("upper left", "upper right"), ("middle left", "middle right"), ("lower left", "lower right"))
LEGEND = ("0", "1 = uniform", "8 times and more")

NO_PROBE = "Bring a probe first: upload a picture, paste one, or choose an example."
NO_MATCH = "Choose a match first: click one of the ranked images."
NOTHING_TO_UNDO = "There is nothing to undo: the probe is untouched."
NO_SUCH_EXAMPLE = "That example is not here any more. Reload the page."
BUSY_FAILURE = "Something went wrong on the server; your probe and settings are kept. Try once more."
