"""Parts that panels are made of: inputs, forms, bars, docks; none of them knows a view, a layer or a run."""
