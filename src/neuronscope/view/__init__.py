"""Looking at neurons: decoded tokens, heat maps, layers, pages."""

from .agreement import trace_agreement as trace_agreement
from .decode import Decoded as Decoded
from .decode import promoted as promoted
from .heatmap import Heatmap as Heatmap
from .heatmap import heatmap as heatmap
from .layers import LayerDistribution as LayerDistribution
from .layers import layer_distribution as layer_distribution
from .layers import plot_layers as plot_layers
