"""The laboratory: network namespaces with real daemons, whose traffic becomes the captures of this repository."""
