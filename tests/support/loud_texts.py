"""A language in which every text of the catalogues is in brackets, so that others stand out."""

from __future__ import annotations

from gettext import NullTranslations


class LoudTexts(NullTranslations):
    """Returns each text as it is, between ⟦ and ⟧; its values stay as they are."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"

    def pgettext(self, context: str, message: str) -> str:
        return f"⟦{message}⟧"

    def npgettext(self, context: str, msgid1: str, msgid2: str, n: int) -> str:
        return self.ngettext(msgid1, msgid2, n)
