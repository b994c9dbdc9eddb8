"""Every word the visitor reads."""

TITLE = "Hide a part, search again, see why"
DESCRIPTION = (
    "Person re-identification with dynamic part templates: bring a person's picture, hide or crop a part, "
    "and see which gallery images match, which part earned the score, and what the change did."
)
HONESTY = "Candidates for a human to verify, never an identification"

HEADER_MORE = "What this is and what it runs with"
CHIP_WEIGHTS, CHIP_DEVICE, CHIP_GALLERY = "weights", "runs on", "gallery"
GALLERY_SIZE = "{name}: {images:,} images"
GALLERY_PEOPLE = " of {people:,} people"

STEP_SETTINGS = "Settings"
STEP_RANKING = "All matches, by rank"
STEP_WHY = "Why this match"
STEP_ABOUT = "About the model"

EXAMPLE_KINDS = {"whole": "whole", "occluded": "occluded", "partial": "partial", "absent": "not in the gallery"}
UPLOAD = "Upload a picture"
UNDO = "Undo"
BACK = "Show all"
CAMERA_HEADING = "Take a picture"
FILL = "Fill"
FILLS = {"mean_grey": "mean grey", "blur": "blur", "noise": "noise", "black": "black", "inpaint": "inpainted"}
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
BLOCK_HEADING = "Random block, person, object"
COVERAGE = "Block: percent of the area"
SEED = "Seed (empty: a new one at each click)"
SEED_WRONG = "The seed in Settings must be a whole number from 0 to 2147483647. Correct it, or leave it empty."
SEED_WORDS = " of seed {seed}"
RECIPE_HEADING = "Recipe: save, load, replay"
RECIPE_BOX = "Changes as JSON"
RECIPE_INFO = "Boxes are fractions of the picture, so a recipe replays on any probe."
REPLAY = "Apply this recipe"
RECIPE_FILE = "Load from a file"
RECIPE_UNREADABLE = "The recipe is not JSON text. Use one that this page saved."
RECIPE_SAVE = "Save as a file"
KEEP_RECIPE = "Keep the changes when I choose another probe"
CROP_HEADING = "Crop by exact numbers"
CROP_FIELDS = ("x", "y", "width", "height")
CROP = "Crop"
CROP_NEEDS = "Fill in x, y, width and height of the crop, in pixels of the probe as it is now."
CROP_OUTSIDE = "The crop {x}, {y}, {w} x {h} is empty or leaves the probe, which is {width} x {height} pixels."
KIND_WORDS = {"brush": "painted", "crop": "crop", "box": "box"}

TOP_K = "How many matches"
WEIGHING = "How parts are weighed"
WEIGHING_INFO = "Part-aware asks only for what the probe shows"
SAME_CAMERA = "Ignore same camera"
SAME_CAMERA_INFO = "Leave out the probe's own person under its own camera"
SWITCHES = "Parts that count"
SWITCHES_INFO = "Switch parts off to see the list move; at least one stays on"

STRIP_LABEL = "Ranked matches, best first. Click one to see why"
USE_AS_PROBE = "Use this match as probe"
RIGHT, WRONG = "✓", "✗"
CAPTION = "#{rank} {mark} {move}\n{similarity}\nid {pid}\ncam {camid}"
UNKNOWN = "unknown"
DISTRACTOR = "none"
UP, DOWN, STILL = "▲{by}", "▼{by}", "="

PROBE_LINE = "{title}: {width} x {height} px"
PROBE_KNOWN = ", id {pid}, camera {camid}"
RECIPE = "Changes: {steps}"
NO_RECIPE = "Untouched"
STATUS_RIGHT = "First right match at rank {rank}."
STATUS_MOVED = "First right match: rank {before} untouched, rank {after} now."
STATUS_ABSENT = "This person is not in the gallery: every candidate is wrong, however high it scores."
STATUS_NONE = (
    "No picture is left to rank: all show the probe's own person under its own camera. Untick “Ignore same camera” in "
    "Settings."
)
STATUS_UNKNOWN = "The probe's identity is not known, so nothing is marked right or wrong."
STATUS_SELF = "The probe is a picture of the gallery, so it finds itself first."
STATUS_VIEWS = (
    "Its similarity is below 1, because this gallery keeps the mean of several views of each picture, mirrored and "
    "half hidden ones too."
)
STATUS_CHANGED = "New in the top {top_k} since the change: {count}."
STATUS_SAME = "The change brought no new image into the top {top_k}."
STATUS_DONE = "Done"
STATUS_ABOUT = "What marks and arrows mean"
STATUS_KEY = "✓ and green: same person. ✗ and orange: another. ▲▼: move against the untouched probe."

CONFIDENCE_PROBES = {False: "a whole", True: "a partly hidden"}
CONFIDENCE_RATES = (
    "With {probe} probe and {images:,} images, {fpir} in 100 searches for a person who is not there pass this mark"
)
CONFIDENCE_MISSES = " (FPIR), and {fnir} in 100 for a person who is there fall short of it or put another first (FNIR)"
CONFIDENCE_END = "."
MARK_INTERVAL = (
    "Measured on other people, the mark would lie between {low:.3f} and {high:.3f} (95 %, {count:,} searches)."
)
MARK_HEADS = ("Searches for absent people just above the mark", "Just below it")
MARK_PAIR = "An absent person and the stranger found first, similarity {similarity}"
MARK_NONE = "A picture of the gallery finds itself, so its score was not measured."

UPLOADED = "Your picture"
FROM_GALLERY = "Gallery image, id {pid}"
FROM_GALLERY_NAMED = "Gallery image {name}"
EXAMPLE_TITLE = "Example: {title}"

EARNED_HEADING = "What earned #{rank}"
EARNED_HEADING_BY = "What earned #{rank} by {weighing}"
EARNED_LEGEND = ("helps", "0", "hurts")
EARNED_WAIT = "Hiding one place after another ..."
EARNED_HELPS = "Violet places earned it. Hiding the frame{part}: similarity {before} to {after}."
EARNED_PART = " (where the part {part} looks)"
EARNED_NOTHING = "No place earns this match alone: hiding any of them does not lower its similarity."
EARNED_SCALE = "Full colour: a change of {most:.2f}. Finer maps: Sweep."
EARNED_ALT = "Probe; the {place} helps this match most: hiding it changes the similarity by {change}"
EARNED_ALT_WAIT = "Probe"
WHY_STRONGEST = "Lit: {name}, which adds most of all parts ({value})."
WHY_FAINT = "Careful: the probe gives this part little presence ({presence:.3f}), so what it compares may be hidden."
WHY_EMPTY = "Click a ranked match to see which parts earned its score."
WHY_HEADING = "Match #{rank}, similarity {similarity}"
WHY_HEADING_BY = "Match #{rank} by {weighing}, similarity {similarity}"
WHY_PROBE, WHY_MATCH = "probe", "match"
WHY_MATCH_OF = "match, id {pid}, camera {camid}"
WHY_CONTRIBUTIONS = "What each part adds to the similarity"
WHY_SHARED = "A contribution is what this part shares with the match, not what hiding it costs. To know that, hide it."
WHY_SEEN = "What can be seen of the probe"
WHY_SEEN_NOTE = "The probability in brackets was fitted on rendered people. A hidden bag cannot be told from no bag."
WHY_PRESENCE = "Part presence"
WHY_PRESENCE_NOTE = (
    "Presence is relative attention and sums to 1 whatever is hidden. It is not a measure of what can be seen."
)
WHY_HEAT = "Where each part template looks"
WHY_HEAT_NOTE = (
    "Same scale for every picture: attention as a multiple of uniform. Colours grow with the logarithm up to 64 times."
)
PARTS_ABOUT = "How sure the names of the parts are"
PARTS_MEASURED = "Each name says where a part was measured to look, on rendered people:"
PART_ABOUT = "{name}: {part}, {meaning}"
WHY_POINT = "Point at another part, or tab to it, to light it up on both pictures; whole person shows them plain."
WHY_DISTANCES = "This match under each way of weighing"
WHY_DISTANCES_NOTE = (
    "Cosine: of all parts together. Adaptive: each side's parts are weighed by its own presence. Part-aware: the mean "
    "of the parts' cosines, each weighed by how much of it the probe shows; the paper leaves it to future work."
)
DISTANCE_COLUMNS = ("weighing", "similarity", "rank")
WHY_NO_PARTS = "This model has a global descriptor only, so it has no part templates to show."
HEAT_ALT = "{name} on the {side}: strongest attention {peak:.1f} times uniform, {place}"
PLACES = (("upper left", "upper right"), ("middle left", "middle right"), ("lower left", "lower right"))
LEGEND = ("0", "1 = uniform", "64 times and more")

NO_PROBE = "Bring a probe first: upload a picture, paste one, or choose an example."
NO_MATCH = "Choose a match first: click one of the ranked images."
GALLERY_REPLACED = (
    "The gallery was rebuilt after this list was ranked. Change a setting, hide a part or choose another probe to rank "
    "it again."
)
NOTHING_TO_UNDO = "There is nothing to undo: the probe is untouched."
PLACE_GONE = "That picture is not kept any more, so the page stays here. Bring it again to search with it."
NO_SUCH_EXAMPLE = "That example is not here any more. Reload the page."
WAITING = "Others asked first: {count} before you. Your answer comes in a moment."
BUSY_FAILURE = "Something went wrong on the server; your probe and settings are kept. Try once more."

# What changed
STEP_CHANGED = "What changed"
CHANGED_EMPTY = "Hide or crop a part of the probe, and this tab shows what that did to the ranking."
CHANGED_RIGHT = "the right person"
CHANGED_FIRST = "the first match of the untouched probe"
CHANGED_MOVED = "{what} moved {who} from rank {before} to {after}"
CHANGED_STILL = "{what} left {who} at rank {after}"
CHANGED_WHAT = {
    "brush": "Painting over a place",
    "crop": "Cropping",
    "box": "Hiding a box",
    "random_block": "Hiding a random block",
    "person": "A person in front",
    "object": "An object in front",
}
CHANGED_HIDING = "Hiding the {place}"
CHANGED_SEVERAL = "These {count} changes"
CHANGED_LOST = "; {parts} lost most."
CHANGED_NO_LOSS = "; no part lost similarity."
AND = " and "
CHANGED_LISTS = ("Untouched", "Changed")
CHANGED_NUMBERS = "In numbers"
CHANGED_COLUMNS = ("", "untouched", "changed", "difference")
CHANGED_RANK = "rank of {who}"
CHANGED_WATCHED = "the right image that was first before"
CHANGED_AP = "average precision"
CHANGED_SIMILARITY = "similarity of {who}"
CHANGED_CHART = "Where each candidate went"
CHANGED_CHART_ENDS = ("untouched", "changed")
CHANGED_BEYOND = "beyond rank {top_k}"
CHANGED_SUMMARY = "{entered} entered the top {top_k}, {left} left it."
CHANGED_TABLE = "Every candidate of either list"
CHANGED_TABLE_COLUMNS = ("candidate", "untouched", "changed", "what happened", "similarity untouched", "changed")
ENTERED, LEFT, ROSE, FELL, STAYED = "entered", "left", "up {by}", "down {by}", "same rank"
CHANGED_TERMS = "What each part adds to the similarity of {who}"
CHANGED_PRESENCE = "Part presence of the probe"
CHANGED_HEAT = "Where each part template looks, before and after"
CHANGED_HEAT_NOTE = (
    "Same scale for every picture: attention, and what of it was gained or lost, as a multiple of uniform. The "
    "percentage is the share of a template's attention that went to other places."
)
CHANGED_HEAT_CROPPED = (
    "Same scale for every picture: attention as a multiple of uniform. A crop moves the frame, so the maps have no "
    "difference place by place."
)
CHANGED_HEAT_MOVED = "{share:.0%} moved"
CHANGED_HEAT_LEGEND = ("gained {most:g}+", "0", "lost {most:g}+")
CHANGED_HEAT_ALT = "{name}, {which}"
CHANGED_KEY = "Thick solid line: the right person. Thin line, open ends: another. Dashed: enters or leaves the list."

# Sweep
STEP_SWEEP = "Sweep"
SWEEP_INTRO = (
    "A small window hides one place of the probe after another. The maps show what each place does to the chosen match "
    "and, where the identity is known, to the right person. What you press meanwhile is done once the sweep ends or "
    "you stop it."
)
SWEEP_SIZE, SWEEP_STRIDE = "Window, percent of the width", "Step, percent of the width"
SWEEP_RUN, SWEEP_STOP = "Start the sweep", "Stop"
SWEEP_PROGRESS = "{done} of {total} windows"
SWEEP_DONE = "All {total} windows tried."
SWEEP_CUT = (
    "Stopped after {seconds} s: {done} of {total} windows were tried, coarse ones first; grey places were not. A "
    "larger step tries fewer."
)
SWEEP_STOPPED = "Stopped. The last maps stay; grey places were not tried."
SWEEP_OF_MATCH = "Match #{rank}, id {pid}"
SWEEP_OF_RIGHT = "The right person (best image)"
SWEEP_MAPS = ("similarity", "rank")
SWEEP_WORST = "Hidden window that costs most: {similarity} similarity, {ranks}."
SWEEP_RANKS = {False: "rank {before} to {after}", True: "still rank {after}"}
SWEEP_TABLE = "Every window in numbers"
SWEEP_COLUMNS = ("x", "y", "similarity: {who}", "rank: {who}")
SWEEP_TABLE_NOTE = "Place of the window's middle, in percent of the picture; change of similarity and of rank."
SWEEP_SAVE = "Save the numbers (CSV)"
SWEEP_LEGEND_SIMILARITY = ("−{most:.2f} and less: this place helps", "0", "+{most:.2f} and more: it hurts")
SWEEP_LEGEND_RANK = ("{most} ranks worse and more: this place helps", "0", "{most} ranks better and more: it hurts")
SWEEP_NOTE = "Same scale for every picture and every sweep; colours grow with the square root of the change."
SWEEP_ALT = "{what} map of {who}: strongest change {peak}"

# Sets
STEP_SETS = "Sets"
SETS_INTRO = (
    "Many what-ifs over many probes: how far does the model carry when more is hidden? The probes ship with the "
    "gallery; where none does, they are one picture of each person whom two cameras saw. "
    "Images of the probe's person under its own camera are left out, as in the benchmarks. What you press meanwhile is "
    "done once the run ends or you stop it."
)
SETS_TRIALS = "What-ifs"
SETS_CURVE = "Random blocks of 10 to 60 percent"
SETS_CURRENT = "The changes of the present probe"
SETS_PROBES = "How many probes at most"
SETS_RUN = "Measure"
SETS_CUT = "Stopped after {seconds} s: {done} of {total} what-ifs. Fewer probes take less."
SETS_STOPPED = "Stopped. What was measured stays."
SETS_PROGRESS = "{done} of {total} what-ifs"
SETS_COLUMNS = ("what-if", "hidden", "R-1", "mAP", "mean rank", "similarity")
SETS_SPREAD = "{low} to {high}"
SETS_SPREAD_NOTE = "Small: 95 % intervals over the people; few probes make them wide."
SETS_TABLE = "{probes} probes; rank and similarity of the first right image, averaged"
SETS_KEY = "Lines: random blocks. Open marks: the other what-ifs; point at one for its name."
SETS_NONE = (
    "No probe ships with this gallery, and its names tell of nobody whom two cameras saw, so there is nothing to "
    "measure. Names such as 0007_c3s1_000001_00.jpg tell person and camera."
)
SETS_PICK = "Choose at least one what-if."
SETS_UNCHANGED = "The present probe has no changes to measure. Hide a part of it, or untick that what-if."
SETS_SAVE_JSON, SETS_SAVE_SVG = "Save the numbers (JSON)", "Save the curve (SVG)"

# Rendered people with one thing changed
STEP_PEOPLE = "Same person, changed"
PEOPLE_INTRO = (
    "No photograph can answer this: four people of the shipped gallery, drawn by lot, were rendered again under the "
    "same camera, in the same pose, with one thing changed. Under each picture is the rank of the right person. Click "
    "one to search with it."
)
PEOPLE_BY = "Ranks by {weighing}, as set when this tab was opened."
PEOPLE_UNTOUCHED = "untouched"
PEOPLE_RANK_SHORT = "rank {rank}"
PEOPLE_RANK = "{who}: rank {rank}"
PEOPLE_MOVED = "{who}: rank {before} to {rank}"
PEOPLE_STILL = "{who}: still rank {rank}"
PEOPLE_HOLDS = "{who}: no change costs a rank"
PEOPLE_ELSEWHERE = "These people are not in the gallery that is searched now. Reload the page."

# Verify and export
STEP_VERIFY = "Verify and export"
VERIFY_INTRO = "Look at both pictures and decide for yourself. Decisions stay with the probe until you choose another."
VERIFY_PROBE, VERIFY_CHANGED = "probe, untouched", "probe, changed: this one was searched"
VERIFY_HEADING = "Candidate #{rank} of {total}: {decision}"
VERIFY_BEYOND = "Candidate #{rank}, beyond the {total} listed: {decision}"
VERIFY_LIST = "The list is ranked by {weighing}."
VERIFY_CONFIRM, VERIFY_REJECT, VERIFY_LEAVE = "Confirm", "Reject", "Leave open"
DECISION_WORDS = {"confirmed": "confirmed", "rejected": "rejected", "open": "open"}
VERIFY_COUNT = "{confirmed} confirmed, {rejected} rejected, {open} open"
CASE_MAKE = "Make the case file"
CASE_LOAD = "Open a case file"
CASE_NOTE = "The case file holds the probe's picture. Nothing of it is kept on the server."
CASE_SAVE = {"json": "Save the case (JSON)", "csv": "Save the list (CSV)", "html": "Save the report (HTML)"}

# Link
LINK_HEADING = "A link to this view"
LINK_INFO = "It carries the example, the changes, the settings and the match, never a picture of yours."
LINK_NONE = "A link is for shipped examples and gallery images. Your own picture never goes into one."
LINK_LONG = "The painted strokes are too long for a link; save the recipe or the case instead."
LINK_BAD = "That link names nothing that is here, so the page opened with its first example."
CASE_DIFFERS = (
    "This case ranks differently here than when it was saved, so it was not opened. Open it with the gallery and "
    "weights of that time."
)
CASE_LONG = "This case lists {count} matches; this page shows at most {most}, so it was not opened."

# Gallery
STEP_BROWSE = "Gallery"
BROWSE_INTRO = "Every picture that is searched. Click one to search with it."
BROWSE_GRID = "Pictures of the gallery. Click one to search with it"
BROWSE_PERSON, BROWSE_CAMERA = "Person (id)", "Camera"
BROWSE_ALL_PEOPLE, BROWSE_ALL_CAMERAS = "all people", "all cameras"
BROWSE_NAMES = {-1: "junk", 0: "none: distractors"}  # of numbers that name no person
BROWSE_UNKNOWN = "not known"
BROWSE_MANY = "Too many to list all {count:,}: type one."
BROWSE_PAGE = "Page, of {pages:,}"
BROWSE_BACK, BROWSE_ON = "Previous page", "Next page"
BROWSE_ALL = "{total:,} pictures"
BROWSE_ONE = "1 picture"
BROWSE_SOME = "{found:,} of {total:,} pictures"
BROWSE_SHOWN = ", {first:,} to {last:,} shown"
BROWSE_NO_NUMBER = "Type a whole number, such as {example}, or choose from the list."
BROWSE_NO_PERSON = "No picture here shows the person {pid}."
BROWSE_NO_CAMERA = "No picture here comes from the camera {camid}."
BROWSE_ELSEWHERE = "None under this camera, but under {cameras}."
BROWSE_NEITHER = "The pictures of this gallery carry no ids and no cameras, so there is nothing to filter them by."
BROWSE_NO_IDS = "The pictures of this gallery carry no ids."
BROWSE_NO_CAMERAS = "The pictures of this gallery carry no cameras."
BROWSE_UNREADABLE = "cannot be read"
BROWSE_STALE = (
    "That picture belongs to a gallery that is no longer searched. Open another tab and come back to see this one."
)
BROWSE_CAPTION = ("id {pid}", "cam {camid}")

# Your pictures
STEP_OWN = "Your pictures"
OWN_HEADING = "A gallery of your own"
OWN_INTRO = (
    "Send pictures, or a zip of them, and search them instead of the shipped gallery. Only you see them. They are "
    "deleted ten minutes after you close or reload this page, or after an hour without use; previews within 70 "
    "minutes. At most {count} pictures and {total} MB; {file} MB a picture, {zip} MB a zip."
)
OWN_CONSENT = "Send no pictures of people who have not agreed."
OWN_FILES = "Pictures or a zip"
OWN_FRAMES = "These are whole frames: cut out each person found"
OWN_MAKE = "Make my gallery"
OWN_NONE = "Choose pictures or a zip first."
OWN_PROGRESS = "Describing pictures"
OWN_MADE = "Your gallery holds {total} pictures. The list on this page now ranks them."
OWN_PROBE = (
    "Its first picture is the probe now: a shipped one says little about your pictures. Upload another one, or choose "
    "one under Gallery."
)
OWN_PARTS = {"duplicates": "second copies left out", "skipped": "files not used", "empty": "frames without a person"}
OWN_SKIPPED = "Files that could not be used"
OWN_LOOK = "Look through it"
OWN_SAVE = "Save it as a file"
OWN_FETCH = "Download my_gallery.zip"
OWN_SAVED = (
    "Unpack it and open it with: python app.py --gallery my_gallery. The file is on the server for 70 minutes at most."
)
OWN_MEASURE = "Measure it on these people"
OWN_MEASURED = (
    "Measured on {people} of your people with {count:,} searches: a first score counts as strong from {mark:.3f}. Then "
    "{fpir} in 100 searches for somebody who is not there pass, and {fnir} in 100 for somebody who is there fail."
)
OWN_UNMEASURED = (
    "How far a score can be believed was measured on other pictures. To measure it on yours takes {least} people under "
    "two cameras each, told by file names such as 0007_c3s1_000001_00.jpg. The names of your files tell {people}."
)
OWN_DELETE = "Delete it and go back"
OWN_DELETED = "Your gallery is deleted."
OWN_NOT_YET = "You have no gallery of your own yet."
OWN_BADGE = "Searching your own gallery of {count} pictures, which only you see."
OWN_TITLE = "your pictures"

FRAME_HEADING = "A person in a whole frame"
FRAME_INTRO = (
    "The network was made for one upright person, cut out closely. Cut one out here: let the finder look, click two "
    "opposite corners, or type the box."
)
FRAME_WIDE = "That picture is wide, so it may hold more than one person: choose one under “Your pictures”."
FRAME_UPLOAD = "Open a frame"
FRAME_FIND = "Find people"
FRAME_PICTURE = "The frame. Click two opposite corners of a box"
FRAME_FOUND = "People found: click one to search"
FRAME_FIELDS = ("x", "y", "width", "height")
FRAME_SEARCH = "Search this box"
FRAME_SIZE = "The frame is {width} x {height} pixels."
FRAME_NUMBER = "{count} found. A miss is common: draw a box where the finder saw nobody."
FRAME_NOBODY = "The finder saw nobody. It knows upright, whole people of about 100 pixels or more; draw a box instead."
FRAME_CORNER = "One corner is set; click the opposite one."
NO_PLACE = "That click names no place on this page. Reload it."
FRAME_NONE = "Open a frame first."
FRAME_NO_BOX = "Choose a person, click two corners, or fill in x, y, width and height."
FRAME_OUTSIDE = "The box {x}, {y}, {w} x {h} is empty or leaves the frame, which is {width} x {height} pixels."
FRAME_PERSON = "Person {number} of your frame"
FRAME_BOX = "A box of your frame"

# The stage
STAGE_LABEL = "Hide a part of the probe and watch the ranking"
STAGE_BLOCK = (
    "Block that hides a part of the probe. Arrow keys move it, Shift with an arrow key resizes it, Delete removes it"
)
STAGE_FRAME = "Frame of the crop. Arrow keys move it, Shift with an arrow key resizes it, Escape leaves it"
STAGE_CORNER = "Drag to resize"
STAGE_PROBE = "Probe"
STAGE_HIDE = "Hide"
STAGE_HALVES = {"upper_half": "Upper half", "lower_half": "Lower half", "left_half": "Left", "right_half": "Right"}
STAGE_MORE_KINDS = ("upper_third", "middle_third", "lower_third", "centre", "random_block", "person", "object")
STAGE_MORE, STAGE_MORE_TITLE = "More", "More ways to hide"
STAGE_FILL = "Filled with"
STAGE_PAINT, STAGE_CROP = "Paint", "Crop"
STAGE_MODE = "Paint or crop"
STAGE_PAINT_HINT = "Paint over the probe; each stroke is searched."
STAGE_CROP_HINT = "Drag the frame and its corner around the part to keep."
STAGE_CROP_DO = "Crop"
STAGE_MODE_END = "Done"
STAGE_UNDO_KEY = "Ctrl+Z"
STAGE_AGAIN = "Changed since. Press to see this example as it was"
STAGE_REMOVE = "Show again: {what}"
STAGE_NOW, STAGE_BEFORE = "Now", "Before"
STAGE_NEXT = "Next, {first} to {last}"
STAGE_VERIFY = "candidates for a human to verify"
STAGE_COSINE, STAGE_PART_AWARE = "Cosine", "Part-aware"
STAGE_COMPARE = "Compare weighings"
STAGE_WHY = "Why"
STAGE_WHY_BY = "by {weighing}"
STAGE_OTHER_IMAGE = "best image: rank {rank}"
SUM = "sum = similarity"
STAGE_WAS = "was {was}"
STAGE_LOST = "Lost most: {parts}"
STAGE_GAINED = "Gained most: {parts}"
STAGE_LEGEND = ("0", "even", "64 times")
STAGE_LEGEND_INFO = (
    "Where a part looks on both pictures, as a multiple of even attention. Colours grow with the logarithm up to 64 "
    "times; the scale is the same for every picture. A bar is what a part adds to "
    "the similarity, the thin line what it added before."
)
STAGE_PARTS_LABEL = "What each part adds. Point at one to see where it looks"
STAGE_EXAMPLES = "Try"
STAGE_EXAMPLES_OF = "Ranks as measured in the shipped gallery"
STAGE_OWN = "Your picture"
STAGE_OWN_HINT = "Upload, paste or drop a picture anywhere"
STAGE_NAME = "person {pid}, camera {camid}"
STAGE_MARKS = {"right": "right person", "wrong": "another person", "unknown": "not known"}
STAGE_TILE = "Rank {rank}, {name}, {mark}"
STAGE_TILE_OF = "{row}: {tile}"
STAGE_FIRST = "The right person is first. Hide a part and watch."
STAGE_PLAIN = "The right person is at rank {after}. Hide a part and watch."
STAGE_FALLS = "{what}, the right person falls from {before} to {after}."
STAGE_RISES = "{what}, the right person rises from {before} to {after}."
STAGE_KEEPS = "{what}, the right person stays at rank {after}."
STAGE_VERDICT_OF = "By {weighing}: {verdict}"
STAGE_COMPARED = "{what}, cosine puts the right person at {cosine}, part-aware at {part_aware}."
STAGE_COMPARED_SAME = "{what}, both put the right person at {cosine}."
STAGE_WITHOUT = "Without the {part}"
STAGE_WITH = "With this part hidden"
STAGE_CROPPED = "Cut to this part"
STAGE_WHOLE = "With nothing hidden"
STAGE_SEVERAL = "With these changes"
STAGE_ABSENT = "This person is not in the gallery: every candidate is wrong."
STAGE_UNKNOWN = "These look most like your picture. Hide a part and watch."
STAGE_FIRST_STAYS = "{what}, the same candidate stays first."
STAGE_FIRST_CHANGES = "{what}, another candidate comes first."
STAGE_ALL_HIDDEN = "Nothing of the person is left in sight, so this ranking means nothing."
STAGE_GONE = "This visit is over. Reload the page."
STAGE_BOX = "The block must lie inside the probe. Drag it back."
STAGE_LOST_SERVER = "The server does not answer. Your probe is kept; try again."
STAGE_ABOUT_VERDICT = "What this verdict rests on"
STAGE_ABOUT_HEAT = "What bars and colours mean"
# Who stands first: right or not; None: not known; "absent": nobody to find.
VERDICTS = {True: "Right person first", False: "Another person first", "absent": "Nobody to find", None: ""}
VERDICT_UNKNOWN = "First score"
VERDICT_SCORED = "{who}: {similarity}, {strength} for {probe} probe (strong from {threshold:.3f})"
WEAK, STRONG = "weak", "strong"
STRONG_YET = "yet strong"  # though the first is not the right person
STORIES = {
    "falls": "{part} hidden: {untouched} to {part_aware}",
    "parts": "{part} hidden: part-aware holds",
    "rises": "{part} hidden: {untouched} to {part_aware}",
    "holds": "{part} hidden: still first",
    "covered": "Half covered: still first",
    "absent": "Not in the gallery: weak score",
}
