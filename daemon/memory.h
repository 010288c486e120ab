/* Memory that is needed at times only: to start, to connect, to load a model. */
#ifndef PITHD_MEMORY_H
#define PITHD_MEMORY_H

/* Gives back freed heap, and the pages of code and constants of this program and its libraries: they are the file's own,
 * so where one is needed again it is mapped from the kernel's page cache, without a copy. What a gateway runs all day
 * comes back at once; the TLS handshake, the readers of YAML and models, the migrations do not.
 * bench/daemon.sh, x86_64, the compressed wake-word model after a stream: 9.7 MB of file pages without, 4.4 MB with it.
 * Thread: any but the loop's, as it may take some milliseconds. */
void memory_give_back(void);

#endif
