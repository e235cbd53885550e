"""The dashboards, one file each; `BOARDS` is the order in which people meet them."""

from dashboards.board import Board
from dashboards.views.compare import BOARD as COMPARE
from dashboards.views.data import BOARD as DATA
from dashboards.views.fleet import BOARD as FLEET
from dashboards.views.inference import BOARD as INFERENCE
from dashboards.views.memory import BOARD as MEMORY
from dashboards.views.node import BOARD as NODE
from dashboards.views.ranks import BOARD as RANKS
from dashboards.views.run import BOARD as RUN

BOARDS: tuple[Board, ...] = (FLEET, RUN, DATA, MEMORY, RANKS, NODE, INFERENCE, COMPARE)
