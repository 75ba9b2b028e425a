"""Who proposes: strategies, all behind one interface, and what they begin with."""
