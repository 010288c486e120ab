/* Giving back the pages of a model's file that were read. */
#ifndef PITH_GRAPH_PAGES_H
#define PITH_GRAPH_PAGES_H

#include <pith/graph.h>

/* Takes the pages of files that the graph's constants lie in, and its sub-graphs', out of this process: for who has packed
 * them. They stay what they are; who reads them again gets them from the system's cache of the file. What lies in memory is
 * left. Thread: any. */
PITH_PUBLIC void pith_graph_forget_pages(const struct pith_graph *graph);

#endif
