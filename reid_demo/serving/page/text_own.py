"""Every word about the visitor's own gallery and whole frames."""

STEP_OWN = "Your pictures"
OWN_HEADING = "A gallery of your own"
OWN_INTRO = (
    "Send pictures, or a zip of them, and search them instead of the shipped gallery. Only you see them. They are "
    "deleted when you close or reload this page and after an hour without use; previews within 70 minutes. At most "
    "{count} pictures and {total} MB; {file} MB a picture, {zip} MB a zip."
)
OWN_CONSENT = "Send no pictures of people who have not agreed."
OWN_FILES = "Pictures or a zip"
OWN_FRAMES = "These are whole frames: cut out each person found"
OWN_MAKE = "Make my gallery"
OWN_NONE = "Choose pictures or a zip first."
OWN_PROGRESS = "Describing pictures"
OWN_MADE = "Your gallery holds {total} pictures. The list on this page now ranks them."
OWN_PARTS = {"duplicates": "second copies left out", "skipped": "files not used", "empty": "frames without a person"}
OWN_SKIPPED = "Files that could not be used"
OWN_LOOK = "Look through it"
OWN_SAVE = "Save it as a file"
OWN_FETCH = "Download my_gallery.zip"
OWN_SAVED = (
    "Unpack it and open it with: python app.py --gallery my_gallery. The file is on the server for 70 minutes at most."
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
FRAME_NONE = "Open a frame first."
FRAME_NO_BOX = "Choose a person, click two corners, or fill in x, y, width and height."
FRAME_OUTSIDE = "The box {x}, {y}, {w} x {h} leaves the frame, which is {width} x {height} pixels."
FRAME_PERSON = "Person {number} of your frame"
FRAME_BOX = "A box of your frame"
