//! From one plan to the next: what is kept of an iteration, where lost state is nearest, how long it
//! takes (section 6 of the paper).
