"""The dashboards, one file each; `BOARDS` is the order in which people meet them."""

from dashboards.board import Board
from dashboards.views.run import BOARD as RUN

BOARDS: tuple[Board, ...] = (RUN,)
