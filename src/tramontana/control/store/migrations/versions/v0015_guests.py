"""Which cross-certification a guest's certificate stands under; revoked devices are found without reading all.

Revision ID: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("certificates", sa.Column("federation", sa.String(32), nullable=True))
    op.create_index(op.f("ix_certificates_federation"), "certificates", ["federation"])
    op.create_index(op.f("ix_devices_revoked_at"), "devices", ["revoked_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_devices_revoked_at"), "devices")
    op.drop_index(op.f("ix_certificates_federation"), "certificates")
    op.drop_column("certificates", "federation")
