"""Versions of files from outside: the name of the file that was uploaded. Versions of epochs have none."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; an older replica beside this one leaves it empty."""
    op.add_column("model_versions", sa.Column("uploaded_file", sa.String(255), nullable=False, server_default=""))


def downgrade() -> None:
    """Takes the column away."""
    op.drop_column("model_versions", "uploaded_file")
