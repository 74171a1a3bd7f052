//! What training promises: the same bits, whatever runs it.
