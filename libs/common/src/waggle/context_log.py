"""The logger behind `ctx.log`. It stands apart so that `import waggle` does without structlog, which takes longer than all the rest."""

import structlog

log = structlog.get_logger()
