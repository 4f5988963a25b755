"""Alarms of phones that are opened under duress."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "duress_alarms",
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("raised_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["device_id"], ["devices.device_id"], name=op.f("fk_duress_alarms_device_id_devices")),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_duress_alarms")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_duress_alarms_secret_sha256")),
    )


def downgrade() -> None:
    op.drop_table("duress_alarms")
