"""The live view of a cluster: what is asked, what answers, how fast.

::

    source.py   asks the frontends         figures.py  their answers -> figures, with a memory of one minute (pure)
    board.py    figures -> words (pure)    static.py   words -> HTML and text that stand still (pure)
    poller.py   the two threads            widget.py   the anywidget: the only file that needs one
    live.py     one panel: displays, freezes, runs what its buttons ask for
    chart.py    the last minute as a picture that stands still (pure); chart.js draws the live one
    *.js        the browser's side, panel.css its looks
"""
