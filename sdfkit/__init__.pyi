from sdfkit.api import Views as Views
from sdfkit.api import compare as compare
from sdfkit.api import create_store as create_store
from sdfkit.api import embed as embed
from sdfkit.api import load_model as load_model
from sdfkit.api import mesh as mesh
from sdfkit.api import open_store as open_store
from sdfkit.api import rank as rank
from sdfkit.api import render as render
from sdfkit.api import sample_sdf as sample_sdf
from sdfkit.api import watertight as watertight

__version__: str
