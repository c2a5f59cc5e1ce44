<?php
// DokuWiki inside a grain: whoever was let into the grain may read and write its pages.
$conf['title'] = 'Wiki';
$conf['license'] = '';
$conf['useacl'] = 0;
$conf['updatecheck'] = 0;
$conf['userewrite'] = 0;
$conf['basedir'] = '/';
$conf['dmode'] = 0700;
$conf['fmode'] = 0600;
