"""The network of the paper."""

from reid_demo.model.dpti import DPTI, DPTIOutput, build_model

__all__ = ["DPTI", "DPTIOutput", "build_model"]
