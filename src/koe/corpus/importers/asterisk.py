"""Asterisk Core Sounds in English: the telephone prompts of one woman, recorded, 16 kHz.

Layout, as Debian's package asterisk-core-sounds-en-g722 installs them in /usr/share/asterisk/sounds:
`en_US_f_Allison/NAME.g722` and folders of digits, letters and the like. The package has no transcripts;
some names hint at the text. Silence, tones and monkeys are left out.
"""

from koe.corpus.importers.listing import Listing, Recording, audio_in, choose_speakers, find_root, folders_in
from koe.corpus.params import CorpusParams
from koe.corpus.quarantine import Quarantine

SPEAKER = "allison"
FOLDER = "en_US_f_Allison"
NO_SPEECH = {"ascending-2tone", "descending-2tone", "beep", "beeperr", "tt-monkeys"}
LICENCE = "Asterisk Core Sounds: CC BY-SA 3.0 (recorded by Allison Smith, paid for by Digium, Inc.)"


def list_asterisk(name: str, params: CorpusParams, quarantine: Quarantine) -> Listing:
    """Lists the prompts; those in a folder are named after it too. Raises KoeError naming what is missing."""
    choose_speakers(name, params, [SPEAKER])
    root = find_root(name, params, FOLDER) / FOLDER
    folders = [folder for folder in folders_in(root) if folder.name != "silence"]
    owner = f"{name}/{SPEAKER}"
    prompts = [(f"{folder.name}-{path.stem}", path) for folder in folders
               for path in audio_in(folder, owner, quarantine)]
    prompts += [(path.stem, path) for path in audio_in(root, owner, quarantine) if path.stem not in NO_SPEECH]
    return Listing([Recording(SPEAKER, sentence, path, gender="female") for sentence, path in prompts], LICENCE, "en")
