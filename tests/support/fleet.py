"""The settings of a whole Waggle in one struct: a test hands them to its services, and each service reads its own."""

import msgspec

from support.keys import API_SECRET
from waggle.settings.services import declared
from waggle.settings.shared import Settings

FleetSettings = msgspec.defstruct(
    "FleetSettings",
    [
        (field.name, field.type, API_SECRET if name == "api_secret" else field.default)
        for name, field in declared().items()
        if name not in Settings.__struct_fields__
    ],
    bases=(Settings,),
    module=__name__,
    frozen=True,
    kw_only=True,
)
