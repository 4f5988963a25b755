"""Planning: which sky to buy. Studies, costs, and where every figure comes from."""
